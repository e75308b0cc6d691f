"""Nobody's packages are installed with the rights of root, and no program of ours asks for these."""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path

import pytest

from blender_saga.client.install.owner import check_owner
from blender_saga.errors import UserError
from tests.paths import ROOT

ELEVATION = {"sudo", "su", "pkexec", "doas", "runas", "gksudo", "ShellExecuteW", "setuid", "seteuid", "setreuid"}


class _Owned:
    def __init__(self, uid: int) -> None:
        self.st_uid = uid
        self.st_mode = 0o40755


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no root")
@pytest.mark.parametrize(("me", "owner", "refused"), [(0, 1000, True), (0, 0, False), (1000, 1000, False)])
def test_root_installs_nothing_for_others(monkeypatch, tmp_path: Path, me: int, owner: int, refused: bool) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(Path, "exists", lambda self: self == tmp_path)
    monkeypatch.setattr(Path, "stat", lambda self, **_: _Owned(owner))
    if not refused:
        check_owner(folder)
        return
    with pytest.raises(UserError, match="without sudo") as caught:
        check_owner(folder)
    assert caught.value.code == "root" and str(tmp_path) in caught.value.why


def test_no_program_asks_for_more_rights() -> None:
    found = []
    for path in sorted(path for folder in ("blender_saga", "backend") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = {node.value} if isinstance(node, ast.Constant) else {getattr(node, "attr", None)}
            found += [f"{path.name}:{node.lineno}" for word in words if isinstance(word, str) and word in ELEVATION]
    assert not found
