"""What users install is pinned, hashed and licensed; known vulnerabilities are looked for where a network is."""

from __future__ import annotations

import importlib.util
import subprocess
from email.message import Message
from types import ModuleType, SimpleNamespace

import pytest

from tests.paths import ROOT


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit = _script()
SHA = "0" * 64


@pytest.mark.parametrize("what", [f"pins and checksums of {name}" for name in audit.LOCKS] + ["licenses"])
def test_what_users_install_is_sound(what: str) -> None:
    assert audit.offline()[what] == []


def test_the_packages_fit_together() -> None:
    if not audit.UV.is_file():
        pytest.skip("uv is not here: this environment was not made by scripts/bootstrap.py")
    assert audit.misfits() == []


def test_there_is_no_known_vulnerability() -> None:
    if not audit.UV.is_file():
        pytest.skip("uv is not here: this environment was not made by scripts/bootstrap.py")
    found, obstacle = audit.vulnerabilities("dev.txt")
    if obstacle:
        pytest.skip(f"KNOWN VULNERABILITIES WERE NOT CHECKED: {obstacle[:150]}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("lock", "sound"),
    [
        (f"numpy==2.3.1 \\\n    --hash=sha256:{SHA} \\\n    --hash=sha256:{SHA}\n", True),
        (f"colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:{SHA}", True),
        ("numpy==2.3.1", False),
        (f"numpy --hash=sha256:{SHA}", False),
        (f"numpy>=2 --hash=sha256:{SHA}", False),
        (f"numpy==2.3.1 --hash=sha256:{SHA[1:]}", False),
        (f"numpy==2.3.1 --hash=md5:{SHA}", False),
        (f"numpy @ git+ssh://somewhere --hash=sha256:{SHA}", False),
        ("--extra-index-url somewhere", False),
    ],
)
def test_what_is_loose_is_found(lock: str, sound: bool) -> None:
    assert (audit.loose(lock) == []) == sound


@pytest.mark.parametrize(
    ("name", "says", "fine"),
    [
        ("a", "MIT", True),
        ("a", "BSD-3-Clause AND Apache-2.0", True),
        ("a", "Proprietary", False),
        ("a", "", False),
        ("a", "Submitted", False),  # SUBMITted holds the letters of one
        ("nvidia-cublas", "LicenseRef-NVIDIA-Proprietary", True),
        ("gsplat", "", True),
    ],
)
def test_licenses(name: str, says: str, fine: bool) -> None:
    about = Message()
    about["Name"], about["License"] = name, says
    assert (audit.objectionable(iter([SimpleNamespace(metadata=about)])) == []) == fine


@pytest.mark.parametrize(
    ("code", "out", "error", "found", "obstacle"),
    [
        (0, "", "No known vulnerabilities found", [], ""),
        (1, "Name  Version ID\nx     1.0     PYSEC-1", "", ["Name  Version ID", "x     1.0     PYSEC-1"], ""),
        (1, "", "a\nConnectionError: nobody", [], "ConnectionError: nobody"),
        (2, "", "", [], "pip-audit printed nothing"),
    ],
)
def test_what_the_tool_says(monkeypatch, code: int, out: str, error: str, found: list[str], obstacle: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, out, error))
    assert audit.vulnerabilities("dev.txt") == (found, obstacle)
