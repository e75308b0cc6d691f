"""Masks on a Ray cluster of two workers on this machine: the same files as without, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.paths import ROOT

SECONDS = 900
"""Limit of a cluster that hangs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where ray_driver.py has told its stories."""
    folder = tmp_path_factory.mktemp("cluster")
    paths = [ROOT / "backend", ROOT, ROOT / "scripts"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "RAY_USAGE_STATS_ENABLED": "0"}
    driver = [sys.executable, str(ROOT / "tests" / "helpers" / "ray_driver.py"), str(folder)]
    ended = subprocess.run(driver, env=environment, capture_output=True, text=True, timeout=SECONDS)
    assert (folder / "told.json").is_file(), ended.stderr[-4000:]
    return folder


@pytest.fixture
def told(folder: Path) -> dict:
    return json.loads((folder / "told.json").read_text(encoding="utf-8"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_ray_it_is_one_sentence(told):
    assert told["without"]["code"] == "no_cluster" and "Ray is not installed" in told["without"]["sentence"]


def test_a_cluster_that_loses_a_worker_writes_the_same_files(folder, told):
    local = files_of(folder / "local")
    assert len(local) == 4 and files_of(folder / "spread") == local
    marks, steps = told["killed"]["marks"], told["killed"]["steps"]
    done = {mark.partition("-")[2] for mark in marks if mark != "killed"}
    assert "killed" in marks and len(done) == 4  # every picture was done, the lost one again
    assert steps[0] == [0, 4] and steps[-1] == [4, 4]


def test_what_a_worker_says_reaches_the_user(told):
    assert told["refused"]["code"] == "no_memory"
    assert "it has no memory. Buy some" in told["refused"]["sentence"]


def test_a_cancelled_run_keeps_what_it_has(folder, told):
    kept = told["cancelled"]["kept"]
    assert told["cancelled"]["ended"] == "cancelled" and 1 <= kept < 4
    assert told["cancelled"]["steps"][0] == [kept, 4]
    assert files_of(folder / "again") == files_of(folder / "local")


def test_every_package_is_installed_on_a_worker():
    """Workers on other machines have this program by pip: a folder that is no package would be missing there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = project["tool"]["setuptools"]["packages"]["find"]
    assert found == {"where": [".", "backend"], "include": ["blender_saga*", "saga_backend*"]}
    folders = {path.parent for top in ("blender_saga", "backend/saga_backend") for path in (ROOT / top).rglob("*.py")}
    assert len(folders) > 20 and not [folder for folder in folders if not (folder / "__init__.py").is_file()]
