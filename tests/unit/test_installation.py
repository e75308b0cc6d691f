"""An installation beside Blender: what it tells while it runs and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from blender_saga.client.installation import Installation
from blender_saga.wire.errors import Cancelled, UserError


class FakeEnvironment:
    """Installs by doing what the test says."""

    def __init__(self, work: Callable[[Callable[[str, float], None], Callable[[], bool]], None]) -> None:
        self._work = work

    def install(self, requirements: Path, report: Callable, cancelled: Callable) -> None:
        assert requirements == Path("lock.txt")
        self._work(report, cancelled)


def installation(work: Callable) -> Installation:
    return Installation(FakeEnvironment(work), Path("lock.txt"))


def test_it_tells_how_far_it_is_and_ends() -> None:
    told, go_on = threading.Event(), threading.Event()

    def work(report: Callable, cancelled: Callable) -> None:
        report("Fetching torch", 0.5)
        told.set()
        assert go_on.wait(30) and not cancelled()

    running = installation(work)
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

    running = installation(work)
    running.cancel()
    with pytest.raises(Cancelled):
        running.wait()
    assert running.cancelled and running.error is None


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (UserError("No disk"), UserError),
        (PermissionError("not yours"), UserError),  # the folder is the user's choice
        (ZeroDivisionError(), ZeroDivisionError),  # a bug stays one
    ],
)
def test_what_goes_wrong_is_raised_for_who_waits(raised: Exception, expected: type) -> None:
    def work(report: Callable, cancelled: Callable) -> None:
        raise raised

    running = installation(work)
    with pytest.raises(expected):
        running.wait()
