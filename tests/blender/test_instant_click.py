"""Instant clicks in Blender: a splat that nobody trained is clicked, with weights or with a sentence that says so."""

from __future__ import annotations

from collections.abc import Iterator

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import PACKAGE, addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, splat
from tests.blender.test_bad_input import refused
from tests.blender.views import HEIGHT, WIDTH, Eye, camera_matrices, click

__all__ = ["fake_backend", "splat"]  # fixtures


@pytest.fixture
def weights(tmp_path) -> Iterator[bpy.types.AddonPreferences]:
    """A file of weights in the preferences, Instant in the sidebar, the backend running."""
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.sam_weights = str(tmp_path / "sam.pth")
    bpy.context.scene.saga.select_by = "INSTANT"
    bpy.ops.saga.backend_start()
    yield preferences
    preferences.sam_weights = ""


def test_a_splat_that_nobody_trained_is_clicked(splat, weights):
    assert not splat.saga.model_file
    assert click(Vector(PLACES[2])) == {"FINISHED"}
    np.testing.assert_array_equal(selected(splat), CLUSTER == 2)
    assert click(Vector(PLACES[0]), mode="ADD") == {"FINISHED"}
    np.testing.assert_array_equal(selected(splat), CLUSTER != 1)
    assert len(bpy.context.scene.saga.prompts) == 2
    assert click(Vector(PLACES[2]), mode="SUBTRACT") == {"FINISHED"}
    np.testing.assert_array_equal(selected(splat), CLUSTER == 0)


def test_without_weights_nothing_is_asked(splat, weights):
    panel = addon("ui.panel_base")
    panel.check_clickable(bpy.context)
    weights.sam_weights = ""
    refused(lambda: click(Vector(PLACES[2])), "Instant clicks need Segment Anything")
    assert panel.reason(lambda: panel.check_clickable(bpy.context)).startswith("Instant clicks need")
    bpy.context.scene.saga.select_by = "AUTO"
    refused(lambda: click(Vector(PLACES[2])), "not trained")


def test_clicks_say_which_weights_there_are(splat, weights):
    prompts, scene = addon("scene.requests.prompts"), bpy.context.scene
    assert prompts.select_options(scene, -1.0, -1.0, True).weights == weights.sam_weights and prompts.is_instant(scene)
    scene.saga.select_by = "SAGA"
    options = prompts.select_options(scene, -1.0, 0.5, False)
    assert (options.weights, options.method, options.threshold) == (weights.sam_weights, "saga", 0.5)
    assert not prompts.is_instant(scene)


def test_a_view_that_rests_is_looked_at_before_it_is_clicked(splat, weights):
    resting, cameras = addon("scene.requests.look_ahead").RestingView(), addon("scene.requests.cameras")
    matrices = camera_matrices(Eye())
    flat = [cameras.flatten(matrix) for matrix in matrices]
    a, b, c = (cameras.view_from_flat(*flat, (WIDTH, HEIGHT + more)) for more in range(3))

    def consider(view: object, now: float) -> bool:
        return resting.consider(bpy.context, view, now)

    assert not consider(a, 0) and not consider(a, 0.5) and consider(a, 1) and not consider(a, 2)
    sent = resting.request
    sent.wait()
    assert type(sent.outcome()).__name__ == "Done" and type(sent.message).__name__ == "LookAhead"
    assert not consider(b, 3) and consider(b, 4)  # another view
    weights.sam_weights = ""
    assert not consider(c, 5) and not consider(c, 6)
    resting.forget()
    assert resting.request is None and not consider(c, 7)  # a first view again
