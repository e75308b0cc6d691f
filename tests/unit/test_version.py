"""The version stands in the manifest alone; the project, the backend and the zip read it from there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import saga_backend
from saga_backend.common.version import read_version
from tests.paths import ROOT

VERSION = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))["version"]


def test_a_checkout_reads_the_manifest() -> None:
    assert saga_backend.__version__ == VERSION


def test_the_project_reads_the_manifest() -> None:
    command = [sys.executable, "setup.py", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip().splitlines()[-1] == VERSION


def test_a_wheel_has_no_manifest_but_a_record(tmp_path: Path) -> None:
    assert read_version(tmp_path / "blender_manifest.toml") == metadata.version("blender-saga")


def test_nobody_else_says_the_version() -> None:
    copies = re.compile(rf"(version.{{0,5}}=.{{0,3}}|blender_saga-){re.escape(VERSION)}")
    files = [ROOT / "README.md", ROOT / "pyproject.toml", *(ROOT / "docs").rglob("*.md")]
    files += [
        path for folder in ("blender_saga", "backend", "scripts", "tests") for path in (ROOT / folder).rglob("*.py")
    ]
    assert [path for path in files if copies.search(path.read_text(encoding="utf-8"))] == []
