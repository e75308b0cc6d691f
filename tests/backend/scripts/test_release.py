"""A release, made in a repository of its own: what it changes, what stops it, and that a rehearsal leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import build_extension
from tests.paths import ROOT

NOTES = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- A thing.\n"
MORE = ("CHANGELOG.md", "scripts/build_extension.py", "scripts/release.py")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small repository: what the zip holds and the scripts, all committed."""
    folder = tmp_path_factory.mktemp("original")
    left_out = [path for pattern in build_extension.LEFT_OUT for path in ROOT.glob(pattern)]
    for path in (*build_extension.contents(), *left_out, *(ROOT / name for name in MORE)):
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".pyc" and path.is_file():
            shutil.copyfile(path, place)
    (folder / "CHANGELOG.md").write_text(NOTES, encoding="utf-8")
    (folder / ".gitignore").write_text("/dist/\n__pycache__/\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All")
    return folder


@pytest.fixture
def clone(original: Path, tmp_path: Path) -> Path:
    git(tmp_path, "clone", "--quiet", str(original), "clone")
    return tmp_path / "clone"


def environ() -> dict[str, str]:
    person = {
        f"GIT_{role}_{what}": "somebody@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return {**os.environ, **person, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def git(folder: Path, *words: str) -> str:
    command = ["git", *words]
    return subprocess.run(command, cwd=folder, env=environ(), capture_output=True, text=True, check=True).stdout.strip()


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "scripts" / "release.py"), *words]
    return subprocess.run(command, env=environ(), capture_output=True, text=True, check=False)


def state(folder: Path) -> tuple[str, str, str]:
    """Commit, tags, and what is not committed."""
    return git(folder, "rev-parse", "HEAD"), git(folder, "tag"), git(folder, "status", "--porcelain", "--ignored")


def test_a_release_is_a_zip_a_commit_and_a_tag(clone: Path) -> None:
    told = run(clone, "7.8.9", "--out-dir", str(clone / "dist"))
    assert told.returncode == 0, told.stderr
    assert tomllib.loads((clone / "blender_manifest.toml").read_text(encoding="utf-8"))["version"] == "7.8.9"
    changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    before, _, after = changelog.partition("## [7.8.9] - 20")
    assert before.endswith("## [Unreleased]\n\n") and "- A thing." in after
    with zipfile.ZipFile(clone / "dist" / "blender_saga-7.8.9.zip") as archive:
        assert tomllib.loads(archive.read("blender_manifest.toml").decode())["version"] == "7.8.9"
    assert git(clone, "describe") == "v7.8.9" and git(clone, "status", "--porcelain") == ""
    assert git(clone, "show", "--name-only", "--format=%s", "HEAD").split() == [
        "Version", "7.8.9", "CHANGELOG.md", "blender_manifest.toml",
    ]  # fmt: skip
    again = run(clone, "7.9.0")
    assert again.returncode == 2 and 'nothing under "Unreleased"' in again.stderr


def test_a_rehearsal_leaves_nothing_behind(clone: Path) -> None:
    before = state(clone)
    told = run(clone, "7.8.9", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert state(clone)[:2] == before[:2] and "dist" not in state(clone)[2]
    assert git(clone, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("7.8", "7.8 is not a version"),
        ("0.0.1", "is older than"),
        ("1.0.0", "is not clean"),
        ("6.0.0", "exists already"),
    ],
)
def test_what_is_in_the_way_is_said_and_nothing_changes(clone: Path, version: str, why: str) -> None:
    if version == "1.0.0":
        (clone / "LICENSE").write_text("changed", encoding="utf-8")
    git(clone, "tag", "v6.0.0")
    before = state(clone)[:2], git(clone, "status", "--porcelain")
    told = run(clone, version, "--out-dir", str(clone / "dist"))
    assert told.returncode == 2 and why in told.stderr and "Traceback" not in told.stderr
    assert (state(clone)[:2], git(clone, "status", "--porcelain")) == before
