"""What every fault test uses: `case` records its row of the table, `counts` chooses between a few and all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from blender_saga.client.backend import Backend
from tests.faults.real import launch_of
from tests.faults.table import FULL_VARIABLE, Row, write

FULL = os.environ.get(FULL_VARIABLE) == "1"


@contextmanager
def _case(name: str) -> Iterator[Row]:
    row = Row(name)
    try:
        yield row
        assert row.lost, "a case must say what was lost"
    except pytest.skip.Exception as reason:
        row.survived, row.remark = "not run", str(reason)
        raise
    except BaseException as error:
        row.survived, row.lost = "no", row.lost or "?"
        row.remark = f"{type(error).__name__}: {error}"[:300]
        raise
    finally:
        write(row)


@pytest.fixture
def case() -> Callable[[str], AbstractContextManager[Row]]:
    """A block whose outcome becomes a row: `with case("kill -9") as row: ...; row.right(0.3); row.lost = "nothing"`."""
    return _case


@pytest.fixture
def counts() -> Callable[[int, int], int]:
    """How often: `counts(reduced=500, full=100_000)`; full with `scripts/test.py --faults --full`."""
    return lambda reduced, full: full if FULL else reduced


@pytest.fixture
def backends(tmp_path: Path) -> Iterator[Callable[..., Backend]]:
    """Starts real backends: `backends()`, or with the arguments of `real.launch_of`. They are stopped at the end."""
    started: list[Backend] = []

    def start(**options: object) -> Backend:
        backend = Backend(launch_of(tmp_path, **{"name": f"backend-{len(started)}.log"} | options))
        started.append(backend)
        backend.start()
        return backend

    yield start
    for backend in started:
        backend.stop()
