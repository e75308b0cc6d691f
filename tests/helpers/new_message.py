"""A request and its reply that only tests know, as whoever adds a message writes them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from blender_saga.wire.messages import MESSAGES, Lane, PathUse, Reply, Request, path_field


@dataclass(frozen=True, eq=False)
class Measured(Reply):
    length: float


@dataclass(frozen=True, eq=False)
class MeasureLength(Request):
    reply = Measured
    lane = Lane.searches

    scene: str
    ruler: str = path_field(PathUse.file)


_NEW = (Measured, MeasureLength)
for _kind in _NEW:  # other tests list the product's messages
    del MESSAGES[_kind.__name__]


def add(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make them known for the length of a test."""
    for kind in _NEW:
        monkeypatch.setitem(MESSAGES, kind.__name__, kind)
