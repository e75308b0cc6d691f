"""A backend that answers what does not fit is refused with one sentence, and nothing in the scene is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import PLACES, fake_backend, session, splat, trained
from tests.blender.test_bad_input import refused
from tests.blender.test_text import clip
from tests.blender.views import click

__all__ = ["clip", "fake_backend", "splat", "trained"]  # fixtures
SENTENCE = r"The backend's answer cannot be used: .+\. Press Restart; nothing was changed"


def lies(monkeypatch: pytest.MonkeyPatch, kind: str, change: Callable[[Any], Any]) -> None:
    """From now on answers of a kind are changed before Blender takes them in."""
    table = addon("client.connection.jobs").JobTable
    handle = table.handle

    def lying(self: object, event: tuple[int, object]) -> object:
        number, answer = event
        return handle(self, (number, change(answer) if type(answer).__name__ == kind else answer))

    monkeypatch.setattr(table, "handle", lying)


def longer(bits: np.ndarray) -> np.ndarray:
    return np.append(bits, np.full(3, 255, np.uint8))


CLICKS = {
    "bits": lambda a: replace(a, bits=longer(a.bits)),
    "total": lambda a: replace(a, total=a.total - 8, bits=a.bits[:-1], scores=a.scores[:-8]),
    "scores": lambda a: replace(a, scores=np.ones(3, np.float32)),
    "count": lambda a: replace(a, count=10**9),
    "another kind": lambda a: addon("wire.messages").Done(),
}


@pytest.mark.parametrize("change", CLICKS.values(), ids=CLICKS)
def test_clicks(trained: bpy.types.Object, monkeypatch, snapshot, change: Callable[[Any], Any]) -> None:
    lies(monkeypatch, "Selection", change)
    before = snapshot()
    refused(lambda: click(Vector(PLACES[0])), SENTENCE)
    assert snapshot() == before
    assert session().link.connected()  # and it goes on with the next one
    monkeypatch.undo()
    assert click(Vector(PLACES[0])) == {"FINISHED"}


def test_a_selection_of_points_that_did_not_take_part(trained: bpy.types.Object, monkeypatch, snapshot) -> None:
    """The arrays fit each other, and the request does not say how many points there are: the scene knows."""
    jobs, info = addon("client.connection.jobs"), addon("client.connection.jobs").request_info
    monkeypatch.setattr(jobs, "request_info", lambda message: replace(info(message), points=-1))
    lies(monkeypatch, "Selection", CLICKS["total"])
    before = snapshot()
    refused(lambda: click(Vector(PLACES[0])), SENTENCE)
    assert snapshot() == before


TREES = {
    "fewer labels": lambda a: replace(a, labels=a.labels[:-1]),
    "more labels": lambda a: replace(a, labels=np.append(a.labels, a.labels)),
    "labels beyond": lambda a: replace(a, labels=a.labels + 100),
    "a loop": lambda a: replace(a, parents=np.array([1, 0, 1, 1], np.int32)),
    "counts": lambda a: replace(a, counts=a.counts[:1]),
}


@pytest.mark.parametrize("change", TREES.values(), ids=TREES)
def test_things(trained: bpy.types.Object, monkeypatch, snapshot, change: Callable[[Any], Any]) -> None:
    lies(monkeypatch, "Clusters", change)
    before = snapshot()
    refused(bpy.ops.saga.segment_scene, SENTENCE)
    assert snapshot() == before and not len(trained.saga.segments)


@pytest.mark.parametrize("rows", [slice(0, 3), slice(0, 0)])
def test_colors(trained: bpy.types.Object, monkeypatch, snapshot, rows: slice) -> None:
    lies(monkeypatch, "Colors", lambda a: replace(a, rgb=a.rgb[rows]))
    before = snapshot()
    refused(bpy.ops.saga.color_features, SENTENCE)
    assert snapshot() == before


TEXTS = {
    "bits": lambda a: replace(a, bits=a.bits[:, :-1]),
    "matches": lambda a: replace(a, matches=77),
    "pictures": lambda a: replace(a, thumbnails=a.thumbnails[:1]),
}


@pytest.mark.parametrize("change", TEXTS.values(), ids=TEXTS)
def test_texts(trained: bpy.types.Object, clip: str, monkeypatch, snapshot, change: Callable[[Any], Any]) -> None:
    lies(monkeypatch, "Candidates", change)
    before = snapshot()
    refused(lambda: bpy.ops.saga.find_text(text="thing 1"), SENTENCE)
    assert snapshot() == before and session().searches.candidates is None
