"""An installation beside Blender: what it tells while it runs and how it ends."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from blender_saga.client.connection.process import Launch
from blender_saga.client.install.installation import Installation, prepare
from blender_saga.errors import Cancelled, UserError


def trial(tmp_path: Path, source: str) -> Callable:
    """`prepare` for a backend that is this Python source."""
    script = tmp_path / "launch.py"
    script.write_text(source)
    return prepare(Launch(Path(sys.executable), script, tmp_path, tmp_path / "log", cache_dir=tmp_path / "compiled"))


def test_it_tells_how_far_it_is_and_ends() -> None:
    told, go_on = threading.Event(), threading.Event()

    def work(report: Callable, cancelled: Callable) -> None:
        report("Fetching torch", 0.5)
        told.set()
        assert go_on.wait(30) and not cancelled()

    running = Installation(work)
    assert told.wait(30)
    assert running.running and (running.text, running.fraction) == ("Fetching torch", 0.5)
    assert running.changed() and not running.changed()  # nothing new since
    go_on.set()
    running.wait()
    assert not running.running and running.changed()


def test_cancel_reaches_the_work() -> None:
    def work(report: Callable, cancelled: Callable) -> None:
        while not cancelled():
            pass
        raise Cancelled("install")

    running = Installation(work)
    running.cancel()
    with pytest.raises(Cancelled):
        running.wait()
    assert running.cancelled and running.error is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (UserError("No disk"), UserError),
        (PermissionError(13, "not yours"), UserError),  # the folder is the user's choice
        (ZeroDivisionError(), ZeroDivisionError),  # a bug stays one
    ],
)
def test_what_goes_wrong_is_raised_for_who_waits(raised: Exception, expected: type) -> None:
    def work(report: Callable, cancelled: Callable) -> None:
        raise raised

    running = Installation(work)
    with pytest.raises(expected):
        running.wait()
    assert (
        "[Errno" not in running.problem
        and running.problem[0].isupper()
        and (getattr(raised, "strerror", None) or str(raised).rstrip(".")) in running.problem
    )


def test_what_was_installed_is_prepared(tmp_path: Path) -> None:
    """It is asked for with the folder to compile into, and every step that it prints is shown."""
    source = """if True:
        import os, sys
        assert "--warm-up" in sys.argv and os.environ["NUMBA_CACHE_DIR"].endswith("compiled")
        print("a warning of some library: 3 of them")
        for step in (0, 1):
            print(f"preparing: {step} of 2", flush=True)
    """
    told = []
    trial(tmp_path, source)(lambda text, fraction: told.append((text, fraction)), lambda: False)
    words = "Compiling for this machine"
    first = "Testing the backend and compiling for this machine"
    assert [text for text, _ in told] == [first, f"{words}, 1 of 2", f"{words}, 2 of 2", "Installed"]
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_what_was_installed_and_does_not_work_is_said(tmp_path: Path) -> None:
    running = Installation(trial(tmp_path, "import no_such_module"))
    with pytest.raises(UserError, match=r"installed backend does not work: .*No module named 'no_such_module'"):
        running.wait()


def test_preparing_can_be_cancelled(tmp_path: Path) -> None:
    running = Installation(trial(tmp_path, "import time; time.sleep(1000)"))
    running.cancel()
    with pytest.raises(Cancelled):
        running.wait()
