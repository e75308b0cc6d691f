"""The command line as the extension's zip holds it: it offers what is there, and says what only a checkout has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import build_extension
from blender_saga.gaussians.ply import write_ply
from tests.helpers.clicks import CLOUD


@pytest.fixture(scope="module")
def extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installed extension, without Blender's installer."""
    folder = tmp_path_factory.mktemp("extensions") / "blender_saga"
    build_extension.stage(folder)
    return folder


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    write_ply(tmp_path / "scene.ply", CLOUD)
    np.save(tmp_path / "labels.npy", np.ones(len(CLOUD), np.int32))
    return tmp_path / "scene.ply"


def run(extension: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """`python -m saga_backend` with the installed extension's files before the checkout's."""
    paths = os.pathsep.join((str(extension.parent), str(extension / "backend")))
    command = [sys.executable, "-m", "saga_backend", *map(str, words)]
    environ = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, env=environ, cwd=extension.parent, capture_output=True, text=True, check=False)


def test_commands_without_their_code_are_not_offered(extension: Path) -> None:
    told = run(extension, "--help")
    commands = {line.split()[0] for line in told.stdout.splitlines() if line.startswith("    ") and line[4] != " "}
    assert {"train", "select", "find", "render", "masks", "recolor", "convert", "info", "serve"} == commands
    refused = run(extension, "evaluate", "--synthetic")
    assert refused.returncode == 2 and "invalid choice: 'evaluate'" in refused.stderr


def test_options_without_their_code_say_what_they_need(extension: Path, scene: Path) -> None:
    out = scene.with_name("out")
    ray = run(extension, "masks", scene, "--out", out, "--sam", "gone.pth", "--engine", "ray")
    given = ("--masks", "simulated", "--labels", scene.with_name("labels.npy"))
    simulated = run(extension, "train", scene, "--out", out.with_suffix(".saga"), *given)
    for told, option in ((ray, "--engine ray"), (simulated, "--masks simulated")):
        assert told.returncode == 2 and "Traceback" not in told.stderr
        last = told.stderr.strip().splitlines()[-1]
        assert last.startswith(f"saga_backend: {option} works only in a checkout of the repository:")
    assert sorted(path.name for path in scene.parent.iterdir()) == ["labels.npy", "scene.ply"]


def test_the_rest_works(extension: Path, scene: Path) -> None:
    model = scene.with_name("out.saga")
    trained = run(extension, "train", scene, "--out", model, "--views", "4", "--width", "64", "--height", "48")
    assert trained.returncode == 0, trained.stderr
    assert model.is_file()
    told = run(extension, "info", scene, "--json")
    assert told.returncode == 0 and f'"count": {len(CLOUD)}' in told.stdout


def test_the_version_is_that_of_the_extension(tmp_path: Path) -> None:
    folder = tmp_path / "blender_saga"
    build_extension.stage(folder)
    manifest = folder / "blender_manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(re.sub(r'^version = ".*"$', 'version = "9.8.7"', text, flags=re.MULTILINE), encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(folder / 'backend')!r}); import saga_backend as s; print(s.__version__)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "9.8.7"
