"""Finding things by words: with a fake session behind a real one's process, whose things are the clusters' numbers."""

# ruff: noqa: F811 - fixtures that are imported

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, fake_backend, selected, session, splat, trained  # noqa: F401 - fixtures
from tests.blender.test_bad_input import refused
from tests.blender.test_panels import Layout

CLIP = "weights.pt"


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Weights, chosen in the preferences."""
    path = str(tmp_path / CLIP)
    addon("scene.state.launch").preferences().clip_weights = path
    yield path
    addon("scene.state.launch").preferences().clip_weights = ""


def draw(obj: bpy.types.Object) -> Layout:
    """The panel, as it would be drawn now."""

    layout = Layout()
    panel = SimpleNamespace(layout=layout)
    cls = addon("ui.text_panel").SAGA_PT_text
    panel._draw_names = lambda *given: cls._draw_names(panel, *given)
    cls.draw(panel, bpy.context)
    return layout


def test_the_best_candidate_is_selected_and_others_by_a_click(trained: bpy.types.Object, clip: str) -> None:
    assert bpy.ops.saga.find_text(text="thing 1") == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), CLUSTER > 0)
    assert "Found 'thing 1': 40 Gaussians" in session().status.message

    assert bpy.ops.saga.text_candidate(index=1) == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), CLUSTER == 0)
    assert bpy.ops.saga.text_candidate(index=0, mode="ADD") == {"FINISHED"}
    assert selected(trained).all()


def test_nothing_that_fits_is_an_answer_and_selects_nothing(trained: bpy.types.Object, clip: str) -> None:
    mask = CLUSTER == 2
    addon("scene.splat.point_cloud").set_selection(trained, mask)
    assert bpy.ops.saga.find_text(text="unicorn") == {"FINISHED"}
    np.testing.assert_array_equal(selected(trained), mask)
    assert session().status.message == "Nothing here looks like that"
    assert "Nothing here looks like that" in draw(trained).texts
    assert bpy.ops.saga.text_candidate(index=1) == {"FINISHED"}  # who wants it all the same


def test_split_objects_are_found_in_too_and_hidden_points_are_not(trained: bpy.types.Object, clip: str) -> None:
    cloud = addon("scene.splat.point_cloud")
    cloud.set_selection(trained, CLUSTER == 1)
    bpy.ops.saga.split()
    part = next(o for o in bpy.data.objects if o != trained and o.type == "POINTCLOUD")
    hidden = np.arange(len(trained.data.points)) % 2 == 0
    cloud.set_hidden(trained, hidden)
    assert bpy.ops.saga.find_text(text="thing 1", object=trained.name) == {"FINISHED"}
    assert selected(part).all()
    rest = cloud.ids(trained) % 3 > 0
    np.testing.assert_array_equal(selected(trained), rest & ~hidden)


def test_names_are_given_but_not_over_those_of_the_user(trained: bpy.types.Object, clip: str) -> None:
    bpy.ops.saga.segment_scene()
    things = {thing.node: thing for thing in trained.saga.segments}
    things[1].name = "mine"
    assert bpy.ops.saga.name_segments(words="chair, table, lamp") == {"FINISHED"}
    names = {thing.node: thing.name for thing in trained.saga.segments}
    assert names[0] == "chair" and names[1] == "mine" and names[2] == "lamp" and names[3] == "Part 2"
    assert bpy.ops.saga.name_segments(words="sofa") == {"FINISHED"}  # a name that was given is no user's
    assert {thing.node: thing.name for thing in trained.saga.segments}[0] == "sofa"


def test_what_is_missing_is_said(splat: bpy.types.Object) -> None:
    refused(lambda: bpy.ops.saga.find_text(text="chair", weights=CLIP), "not trained")
    texts = " ".join(draw(splat).texts)
    assert "Find" in draw(splat).buttons and not draw(splat).buttons["Find"]
    assert "CLIP" in texts and "Train Affinity" in texts


def test_without_weights_or_words(trained: bpy.types.Object, clip: str) -> None:
    refused(lambda: bpy.ops.saga.find_text(text="  "), "The text is empty")
    refused(lambda: bpy.ops.saga.name_segments(words=" , "), "The list of words is empty")
    refused(lambda: bpy.ops.saga.name_segments(words="chair"), "Press Segment Scene first")
    refused(lambda: bpy.ops.saga.text_candidate(index=0), "no such candidate")
    addon("scene.state.launch").preferences().clip_weights = ""
    refused(lambda: bpy.ops.saga.find_text(text="chair"), "no weights file is chosen")
    assert bpy.ops.saga.find_text(text="thing 0", weights=clip) == {"FINISHED"}


def test_the_panel_shows_the_candidates_with_pictures(trained: bpy.types.Object, clip: str) -> None:
    assert draw(trained).buttons == {"Find": True}
    bpy.ops.saga.find_text(text="thing 0")
    layout = draw(trained)
    assert layout.texts.count("picture") == 2 and set(layout.buttons) == {
        "Find",
        "90%, 20 Gaussians",
        "20%, 40 Gaussians",
    }
    answer = session().searches.candidates
    panel = addon("ui.text_panel")
    panel.picture(answer, 0)
    preview = panel._pictures[f"{session().searches.texts}:0"]
    pixels = np.array(preview.image_pixels_float[:]).reshape(*preview.image_size[::-1], 4)[::-1, :, :3]
    np.testing.assert_array_equal((pixels * 255).round().astype(np.uint8), answer.thumbnails[0])
