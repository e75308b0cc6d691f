"""What a click says or does in every state of the backend: not installed, starting, of another version, busy, gone."""

from __future__ import annotations

from collections.abc import Callable

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import (
    CLUSTER,
    ENDLESS,
    PLACES,
    fake_backend,
    selected,
    session,
    splat,
    trained,
)
from tests.blender.test_bad_input import refused
from tests.blender.views import click

__all__ = ["fake_backend", "splat", "trained"]  # fixtures


def test_a_click_waits_for_a_backend_that_starts(trained: bpy.types.Object) -> None:
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start(wait=False)
    assert session().link.backend.state.value == "starting"
    click(Vector(PLACES[1]))
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)


def test_a_backend_of_another_version(
    trained: bpy.types.Object, snapshot: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.ops.saga.backend_stop()
    channel = addon("wire.channel")
    monkeypatch.setattr(channel, "PROTOCOL_VERSION", channel.PROTOCOL_VERSION + 1)
    before = snapshot()
    refused(lambda: bpy.ops.saga.backend_start(), "have different versions")
    assert session().link.backend.state.value == "failed"
    refused(lambda: click(Vector(PLACES[1])), "have different versions")
    assert snapshot() == before


def test_a_click_beside_a_training(trained: bpy.types.Object) -> None:
    bpy.ops.saga.train(steps=ENDLESS, wait=False)
    training = session().trainings.request
    clicked = []

    def once(progress: object) -> None:
        if not clicked:
            clicked.append(click(Vector(PLACES[2])))
            bpy.ops.saga.cancel()

    with pytest.raises(addon("errors").Cancelled):
        training.wait(on_progress=once)
    np.testing.assert_array_equal(selected(trained), CLUSTER == 2)


def test_refining_without_a_backend_changes_nothing(trained: bpy.types.Object, snapshot: Callable) -> None:
    click(Vector(PLACES[0]))
    click(Vector(PLACES[1]), mode="ADD")
    bpy.ops.saga.backend_stop()
    settings = bpy.context.scene.saga

    def state() -> object:
        clicks = [
            (p.positive, p.box, p.width, tuple(p.corners), tuple(p.view), tuple(p.projection)) for p in settings.prompts
        ]
        return snapshot(), clicks, settings.scale, settings.scale_auto

    before = state()
    for call in (
        lambda: bpy.ops.saga.scale_step(step=0.1),
        lambda: bpy.ops.saga.prompt_remove(index=0),
        lambda: bpy.ops.saga.prompt_remove(),
    ):
        refused(call, "The backend is not running. Press Start")
        assert state() == before


def test_a_scale_without_a_click_changes_nothing(trained: bpy.types.Object) -> None:
    settings = bpy.context.scene.saga
    before = settings.scale, settings.scale_auto
    refused(lambda: bpy.ops.saga.scale_step(step=0.1), "no click to change the scale of")
    assert (settings.scale, settings.scale_auto) == before
