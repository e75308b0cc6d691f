"""Masks on a Ray cluster of two workers on this machine: the same files as without, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clicks import CLOUD
from saga_backend.cameras.frame import virtual_frames
from saga_backend.cluster import RayEngine, Weights, find_masks, import_ray
from saga_backend.control import Control
from saga_backend.masks.cache import MaskCache
from saga_backend.masks.extract import Engine, Local, Pictures, extract, tasks_of
from saga_backend.masks.sam_model import open_sam
from saga_backend.masks.sam_settings import SamSettings
from saga_backend.rasteriser import CPU
from tiny_sam import OPEN, tiny_sam
from twins import toy_views

from blender_saga.wire.errors import Cancelled, UserError

ROOT = Path(__file__).parents[2]
SETTINGS = SamSettings(**OPEN)
FRAMES = virtual_frames([view.resized(64, 48) for view in toy_views()[:4]])
PICTURES = Pictures(CLOUD, CPU, 64)


def dying(picture: np.ndarray, key: str, weights: Weights, folder: str = "") -> bytes:
    """As find_masks, but the first worker that comes here is killed, as by a machine that goes down."""
    try:
        (Path(folder) / "killed").touch(exist_ok=False)
    except FileExistsError:
        (Path(folder) / f"{os.getpid()}-{key[:8]}").touch()
        return find_masks(picture, key, weights)
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def refusing(picture: np.ndarray, key: str, weights: Weights) -> bytes:
    raise UserError("A worker cannot do this", "it has no memory", "Buy some", "no_memory")


def made_by(engine: Engine, folder: Path, control: Control | None = None) -> dict[str, bytes]:
    tasks = tasks_of(FRAMES, PICTURES, SETTINGS, open_sam(tiny_sam()).sha256)
    extract(tasks, MaskCache(folder), engine, PICTURES, control or Control())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def ray_engine() -> RayEngine:
    sam = open_sam(tiny_sam())
    return RayEngine(tiny_sam(), sam.sha256, SETTINGS, workers=2)


def test_without_ray_it_is_one_sentence(monkeypatch, tmp_path):
    """Before the fixture below: Ray's own threads do not survive its absence."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="Ray is not installed"):
        made_by(ray_engine(), tmp_path / "m")


@pytest.fixture(scope="module")
def ray():
    """A cluster of this machine, for the module: it takes seconds to start."""
    pytest.importorskip("ray", reason="Ray is not installed (backend/requirements/cluster.txt)")
    package = import_ray()
    engine = ray_engine()
    paths = [ROOT / "backend", ROOT, ROOT / "tests" / "backend", ROOT / "scripts"]
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, paths))
    assert engine._connect(package)
    yield package
    package.shutdown()
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


class Watching(Control):
    """Keeps the progress; cancels itself after so many steps of finding masks."""

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__()
        self.steps: list[tuple[int, int]] = []
        self._most = most

    def emit(self, phase: str, step: int, total: int) -> None:
        if phase == "finding masks":
            self.steps.append((step, total))
            if step >= self._most:
                self.cancel()


def test_a_cluster_that_loses_a_worker_writes_the_same_files(ray, tmp_path):
    local = made_by(Local(open_sam(tiny_sam()), SETTINGS), tmp_path / "local")
    (tmp_path / "marks").mkdir()
    marked = str(tmp_path / "marks")

    def find(picture: np.ndarray, key: str, weights: Weights) -> bytes:
        return dying(picture, key, weights, marked)

    engine = replace(ray_engine(), find=find)
    watching = Watching()
    spread = made_by(engine, tmp_path / "ray", watching)
    assert spread == local and len(local) == len(FRAMES)
    marks = [path.name for path in (tmp_path / "marks").iterdir()]
    assert "killed" in marks and len(marks) == 1 + len(FRAMES)  # every picture was done, the lost one again
    assert watching.steps[0] == (0, len(FRAMES)) and watching.steps[-1] == (len(FRAMES), len(FRAMES))


def test_what_a_worker_says_reaches_the_user(ray, tmp_path):
    with pytest.raises(UserError, match=r"it has no memory\. Buy some") as caught:
        made_by(replace(ray_engine(), find=refusing), tmp_path / "m")
    assert caught.value.code == "no_memory"


def test_a_cancelled_run_keeps_what_it_has(ray, tmp_path):
    with pytest.raises(Cancelled):
        made_by(ray_engine(), tmp_path / "m", Watching(most=1))
    kept = len(list((tmp_path / "m").iterdir()))
    assert 1 <= kept < len(FRAMES)
    watching = Watching()
    assert len(made_by(ray_engine(), tmp_path / "m", watching)) == len(FRAMES)
    assert watching.steps[0] == (kept, len(FRAMES))


def test_every_package_is_installed_on_a_worker():
    """Workers on other machines have this program by pip: a folder that is not listed would be missing there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    there = {
        ".".join(path.parent.relative_to(root).parts)
        for root, name in ((ROOT, "blender_saga"), (ROOT / "backend", "saga_backend"))
        for path in (root / name).rglob("__init__.py")
    }
    assert there == listed
    assert project["project"]["optional-dependencies"]["cluster"] == ["ray"]
