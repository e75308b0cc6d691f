"""The one writer of files: an older file stays whole, nothing half written is left, no link is followed."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.atomic_write import atomic_stream, atomic_write
from tests.paths import ROOT

Write = Callable[[Path, bytes], None]


def by_path(path: Path, content: bytes) -> None:
    with atomic_write(path) as part:
        part.write_bytes(content)


def by_stream(path: Path, content: bytes) -> None:
    with atomic_stream(path) as stream:
        stream.write(content)


both = pytest.mark.parametrize("write", [by_path, by_stream])


@both
def test_the_file_is_on_the_disk_before_it_has_its_name(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.ply", []
    write(path, b"old")

    def fsync(number: int) -> None:
        part = tmp_path / f"a.ply.{os.getpid()}.part"
        assert os.fstat(number).st_ino == part.stat().st_ino and part.read_bytes() == b"new"
        seen.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    write(path, b"new")
    assert seen == [b"old"] and path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("writer", [atomic_write, atomic_stream])
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_whatever_ends_the_writing_an_older_file_stays(
    writer: Callable, error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(b"old")
    with pytest.raises(error), writer(path) as target:
        target.write_bytes(b"half") if isinstance(target, Path) else target.write(b"half")
        raise error
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@both
def test_parts_of_killed_writers_go_with_the_next_write(write: Write, tmp_path: Path) -> None:
    old, fresh, other = (tmp_path / name for name in ("a.saga.1.part", "a.saga.2.part", "a.saga.mine.part"))
    for path in (old, fresh, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    write(tmp_path / "a.saga", b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.saga", fresh.name, other.name]


@both
@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_nothing_is_written_through_a_link(write: Write, link: str, tmp_path: Path) -> None:
    """Somebody who may write to the folder has planted a link under the name that is written first."""
    victim, path = tmp_path / "victim", tmp_path / "x.saga"
    victim.write_bytes(b"precious")
    getattr(tmp_path / f"x.saga.{os.getpid()}.part", link)(victim)
    write(path, b"model")
    assert victim.read_bytes() == b"precious" and path.read_bytes() == b"model" and not path.is_symlink()


def test_a_stream_that_cannot_be_written_is_told_to_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.a\.ply cannot be written: No such file"):
        by_stream(tmp_path / "nowhere" / "a.ply", b"")
    with pytest.raises(FileNotFoundError):
        by_path(tmp_path / "nowhere" / "a.ply", b"")


def test_nobody_else_replaces_files() -> None:
    found = set()
    for path in [*(ROOT / "blender_saga").rglob("*.py"), *(ROOT / "backend").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
                one = len(node.args) == 1 and not node.keywords  # Path.replace; that of str and replace() take more
                if one or ast.unparse(node.func) == "os.replace":
                    found.add(path.relative_to(ROOT).as_posix())
    assert found == {"blender_saga/gaussians/atomic_write.py"}
