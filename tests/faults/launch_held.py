"""The backend, or the command line with its arguments, which waits at a place for as long as a file names it.

The places: "handshake" (the session is not opened) and "training" (before the last step). So who kills it there comes
in time, however slow the machine; what it does until then is what it always does.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_VARIABLE = "SAGA_TEST_HOLD"
_pause = threading.Event()


def _hold(place: str) -> None:
    file = Path(os.environ[FILE_VARIABLE])
    while file.exists() and file.read_text() == place:
        _pause.wait(0.01)


def _hold_trainings() -> None:
    from saga_backend.common.progress import Control

    tell = Control.progress

    def progress(self: Control, phase: str, step: int, total: int) -> None:
        tell(self, phase, step, total)
        if phase == "training" and step == total - 1:
            _hold(phase)

    Control.progress = progress


def _open_session(wanted: str) -> object:
    from saga_backend.serving import server

    _hold("handshake")
    return server.open_session(wanted)


def _run_backend() -> None:
    spec = importlib.util.spec_from_file_location("launch", ROOT / "backend" / "launch.py")
    launch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch)
    launch.make_importable(ROOT / "blender_saga")
    _hold_trainings()
    launch.make_importable = lambda addon_dir: None  # it is already, and must stay as it is
    launch.run(_open_session)


def _run_command_line() -> int:
    from saga_backend.cli import main

    _hold_trainings()
    return main.main()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "backend"))
    if sys.argv[1] == "train":
        sys.exit(_run_command_line())
    _run_backend()
