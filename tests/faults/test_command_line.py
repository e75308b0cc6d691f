"""The command line is killed in a training; the same command goes on, another one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blender_saga.gaussians.formats.registry import write_splat
from saga_backend.methods import checkpoint
from tests.faults import launch_held
from tests.faults.real import ROOT, balls, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def command(folder: Path, out: str, seed: int = 0, program: tuple[str, ...] = ("-m", "saga_backend")) -> list[str]:
    """`saga_backend train`."""
    what = ["--recipe", "paper", "--steps", "120", "--pixels", "256", "--views", "6", "--width", "96", "--height", "72"]
    scene = ["train", str(folder / "balls.ply"), "--out", str(folder / out), "--device", "cpu"]
    return [sys.executable, *program, *scene, "--seed", str(seed), *what]


def test_killed_and_run_again(case, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(checkpoint.EVERY_VARIABLE, "0")  # every step, however many a machine does in a second
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "backend")]))
    write_splat(tmp_path / "balls.ply", balls())
    hold = tmp_path / "hold"
    monkeypatch.setenv(launch_held.FILE_VARIABLE, str(hold))
    kept = tmp_path / "cut.saga.unfinished" / "features.safetensors"
    with case("kill -9 the command line in `train`, run it again") as row:
        subprocess.run(command(tmp_path, "whole.saga"), check=True, capture_output=True)
        hold.write_text("training")  # it does not end before it is killed
        held = command(tmp_path, "cut.saga", program=(launch_held.__file__,))
        cut = subprocess.Popen(held, stderr=subprocess.DEVNULL)
        until(lambda: kept.is_file() or cut.poll() is not None, "a checkpoint")
        os.kill(cut.pid, signal.SIGKILL)
        assert cut.wait() == -signal.SIGKILL
        again = subprocess.run(command(tmp_path, "cut.saga"), check=True, capture_output=True, text=True)
        assert "went on from step" in again.stderr and not kept.parent.exists()
        assert (tmp_path / "cut.saga").read_bytes() == (tmp_path / "whole.saga").read_bytes()
        other = subprocess.run(command(tmp_path, "cut.saga", seed=1), check=True, capture_output=True, text=True)
        assert "went on" not in other.stderr
        row.lost = "nothing"
        row.remark = "went on from its checkpoint; byte for byte the model of an uninterrupted training"
