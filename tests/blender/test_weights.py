"""Downloading weights, with a backend that only pretends to."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import bpy
import pytest

from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.paths import ROOT


@pytest.fixture(autouse=True)
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Start launches the fake; what was chosen is forgotten afterwards."""
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    monkeypatch.setenv("SAGA_TEST_SESSION", "geometric_session")
    monkeypatch.setattr(addon("scene.state.launch"), "LAUNCH", ROOT / "tests" / "fakes" / "launch_fake.py")
    bpy.context.preferences.system.use_online_access = True
    yield
    bpy.context.preferences.system.use_online_access = False
    for name in ("sam_weights", "clip_weights"):
        setattr(addon("scene.state.launch").preferences(), name, "")


@pytest.mark.parametrize(("kind", "where"), [("vit_l", "sam_weights"), ("ViT-B-16", "clip_weights")])
def test_the_path_goes_to_the_preferences(kind: str, where: str) -> None:
    """The backend is started for it if need be."""
    assert bpy.ops.saga.fetch_weights(kind=kind) == {"FINISHED"}
    preferences = addon("scene.state.launch").preferences()
    assert getattr(preferences, where) == f"/{kind}.pth"
    assert {preferences.sam_weights, preferences.clip_weights} == {"", f"/{kind}.pth"}


def test_nothing_is_downloaded_without_leave() -> None:
    bpy.context.preferences.system.use_online_access = False
    refused(lambda: bpy.ops.saga.fetch_weights(kind="vit_b"), "online access is disabled")
    assert addon("scene.state.session").downloads.weights is None


def test_one_at_a_time_and_it_can_be_cancelled() -> None:
    session = addon("scene.state.session")
    bpy.ops.saga.fetch_weights(kind="vit_h", wait=False)
    refused(lambda: bpy.ops.saga.fetch_weights(kind="vit_b"), "already running")
    assert bpy.ops.saga.cancel() == {"FINISHED"}
    while not session.downloads.weights.ended:
        session.link.backend._connection.wait(1)
        session.poll()
    assert addon("scene.state.launch").preferences().sam_weights in ("", "/vit_h.pth")  # if it was too late
    assert not session.status.failed
