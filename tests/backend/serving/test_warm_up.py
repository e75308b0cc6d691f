"""What is compiled once on a machine: told as one phase, and only once. (Here everything is compiled already.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blender_saga.errors import Cancelled
from blender_saga.wire.messages import LoadScene, Train
from saga_backend.common.progress import Control
from saga_backend.serving.session import Session
from saga_backend.serving.warm_up import PHASE, warm_up
from tests.helpers.clicks import CLOUD, SMALL
from tests.helpers.twins import CancelsAt
from tests.paths import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")
LAUNCH = ROOT / "backend" / "launch.py"


class Listens(Control):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, int, int]] = []

    def emit(self, phase: str, step: int, total: int) -> None:
        self.heard.append((phase, step, total))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "compiled"))
    return tmp_path / "compiled"


def test_it_is_one_phase_that_comes_once(folder):
    first, second = Listens(), Listens()
    warm_up(first)
    assert {phase for phase, _, _ in first.heard} == {PHASE}
    steps = [step for _, step, _ in first.heard]
    assert steps == sorted(steps) and (steps[0], steps[-1]) == (0, 10) and first.heard[-1][2] == 11
    assert len(list(folder.iterdir())) == 1
    warm_up(second)
    assert second.heard == []


def test_the_first_training_begins_with_it(folder):
    session = Session("cpu", warm_up)
    session.load_scene(LoadScene("toy", CLOUD))
    control = Listens()
    session.train(Train("toy", "", SMALL), control)
    phases = list(dict.fromkeys(phase for phase, _, _ in control.heard))
    assert phases[0] == PHASE and "training" in phases[1:]


def test_cancelled_it_begins_anew(folder):
    with pytest.raises(Cancelled):
        warm_up(CancelsAt(PHASE))
    assert not folder.exists()
    again = Listens()
    warm_up(again)
    assert again.heard[-1][1] == 10


def test_without_a_folder_of_its_own_nothing_is_done(monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    control = Listens()
    warm_up(control)
    assert control.heard == []


def test_a_folder_that_cannot_be_made_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "compiled"))
    control = Listens()
    warm_up(control)
    assert control.heard[-1][1] == 10


def test_launch_does_it_and_ends():
    """The Install button calls it so, to try out what it has installed. (Here it is compiled beside the source.)"""
    command = [sys.executable, "-I", str(LAUNCH), "--warm-up"]
    environ = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    run = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=900)
    assert run.returncode == 0, run.stderr
    first, *steps = run.stdout.splitlines()
    assert first.startswith("device: ")
    assert steps == [f"{PHASE}: {step} of {len(steps)}" for step in range(len(steps))] and len(steps) > 5
