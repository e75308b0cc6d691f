"""What a user can do wrong: one clear sentence each, and the scene stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import addon

MESH = """ply
format ascii 1.0
element vertex 3
property float x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
0 0 0
1 0 0
0 1 0
3 0 1 2
"""


def write_mesh(path: Path) -> None:
    path.write_text(MESH)


def write_truncated(path: Path) -> None:
    write_inria(path, random_cloud(20, 0))
    path.write_bytes(path.read_bytes()[:-40])


def write_empty(path: Path) -> None:
    write_inria(path, random_cloud(0, 0))


def write_nothing(path: Path) -> None:
    """No file at all."""


def write_text(path: Path) -> None:
    path.write_text("hello\n")


FILES = {
    "missing": (write_nothing, "bad.ply"),
    "mesh": (write_mesh, "is not a Gaussian splat.*mesh"),
    "truncated": (write_truncated, "bad.ply"),
    "empty": (write_empty, "no Gaussians"),
    "no PLY": (write_text, "bad.ply"),
}


def refused(call: Callable[[], object], match: str) -> None:
    """The operator reports exactly one sentence (it may have a reason and an advice) and no traceback."""
    with pytest.raises(RuntimeError, match=match) as caught:
        call()
    text = str(caught.value).strip()
    assert text.startswith("Error: ") and "\n" not in text and "Traceback" not in text


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    """A splat that is in the scene already."""
    write_inria(tmp_path / "good.ply", random_cloud(30, 1))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "good.ply"))
    return bpy.context.view_layer.objects.active


@pytest.mark.parametrize("kind", FILES)
def test_bad_files_are_refused(tmp_path: Path, snapshot: Callable, splat: bpy.types.Object, kind: str) -> None:
    write, match = FILES[kind]
    write(tmp_path / "bad.ply")
    before = snapshot()
    refused(lambda: bpy.ops.saga.import_splat(filepath=str(tmp_path / "bad.ply")), match)
    assert snapshot() == before


def test_numbers_that_are_not_finite_are_left_out_with_a_warning(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    cloud = random_cloud(10, 0)
    cloud.means[3] = np.nan
    cloud.scales[7] = np.inf
    write_inria(tmp_path / "holes.ply", cloud)
    assert bpy.ops.saga.import_splat(filepath=str(tmp_path / "holes.ply")) == {"FINISHED"}
    obj = bpy.context.view_layer.objects.active
    assert len(obj.data.points) == 8
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), np.arange(8))
    assert "Warning" in capfd.readouterr().out


VIEW = dict(view_matrix=np.eye(4).ravel(), projection_matrix=[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, -1, -0.02, 0, 0, -1, 0])
CLICK = VIEW | {"width": 100, "height": 80, "x": 50, "y": 40}
CALLS = {
    "train": lambda: bpy.ops.saga.train(),
    "click": lambda: bpy.ops.saga.click(**CLICK),
    "split": lambda: bpy.ops.saga.split(),
    "invert": lambda: bpy.ops.saga.invert(),
    "clear": lambda: bpy.ops.saga.clear(),
}


@pytest.fixture(params=["train", "click", "split", "invert", "clear", "export"])
def call(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], object]:
    """Every operator that works on the active splat; a backend is pretended where one is needed."""
    return CALLS.get(request.param, lambda: bpy.ops.saga.export_splat(filepath=str(tmp_path / "out.ply")))


@pytest.fixture
def pretended_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators believe that a backend runs, so that the next check is reached."""
    monkeypatch.setattr(addon("scene.state.session").link, "connected", lambda: None)


def test_no_object(call: Callable, snapshot: Callable, pretended_backend: None) -> None:
    before = snapshot()
    refused(call, "No splat is active")
    assert snapshot() == before


def test_object_of_another_type(call: Callable, snapshot: Callable, pretended_backend: None) -> None:
    bpy.ops.mesh.primitive_cube_add()
    before = snapshot()
    refused(call, "Cube is not a splat")
    assert snapshot() == before


def test_point_cloud_without_the_attributes(call: Callable, snapshot: Callable, pretended_backend: None) -> None:
    points = bpy.data.pointclouds.new("dust")
    points.resize(5)
    obj = bpy.data.objects.new("dust", points)
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    before = snapshot()
    refused(call, "dust is not a splat")
    assert snapshot() == before


def test_splat_without_points(
    call: Callable, snapshot: Callable, splat: bpy.types.Object, pretended_backend: None
) -> None:
    splat.data.resize(0)
    before = snapshot()
    refused(call, "has no Gaussians")
    assert snapshot() == before


def test_unknown_object_name(snapshot: Callable, splat: bpy.types.Object) -> None:
    before = snapshot()
    refused(lambda: bpy.ops.saga.split(object="nobody"), "no object nobody")
    assert snapshot() == before


def test_hidden_splat_is_not_clicked(snapshot: Callable, splat: bpy.types.Object) -> None:
    splat.hide_set(True)
    before = snapshot()
    refused(lambda: bpy.ops.saga.click(object=splat.name, **CLICK), "is hidden")
    assert snapshot() == before


def test_click_before_training(snapshot: Callable, splat: bpy.types.Object, pretended_backend: None) -> None:
    before = snapshot()
    refused(lambda: bpy.ops.saga.click(**CLICK), "not trained yet. Press Train Affinity first")
    assert snapshot() == before


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"x": 100}, "outside the view"),
        ({"y": -1}, "outside the view"),
        ({"width": 0}, "The click has no view"),
        ({"view_matrix": np.zeros(16)}, "The click has no view"),
        ({"projection_matrix": np.zeros(16)}, "not that of a camera"),
        ({"view_matrix": np.full(16, np.nan)}, "not finite"),
    ],
)
def test_click_with_a_bad_view(change: dict, match: str, snapshot: Callable, splat: bpy.types.Object) -> None:
    before = snapshot()
    refused(lambda: bpy.ops.saga.click(**CLICK | change), match)
    assert snapshot() == before


def test_export_of_an_empty_selection(tmp_path: Path, snapshot: Callable, splat: bpy.types.Object) -> None:
    (tmp_path / "old.ply").write_bytes(b"old")
    before = snapshot()
    path = str(tmp_path / "old.ply")
    refused(lambda: bpy.ops.saga.export_splat(filepath=path, selection_only=True), "Nothing is selected")
    assert (tmp_path / "old.ply").read_bytes() == b"old" and snapshot() == before


def test_export_of_a_flattened_object(tmp_path: Path, splat: bpy.types.Object) -> None:
    splat.scale = (1, 0, 1)
    refused(lambda: bpy.ops.saga.export_splat(filepath=str(tmp_path / "flat.ply")), "scale is zero")
    assert not (tmp_path / "flat.ply").exists()


def test_export_to_a_folder_that_is_not_there(tmp_path: Path, splat: bpy.types.Object) -> None:
    refused(lambda: bpy.ops.saga.export_splat(filepath=str(tmp_path / "no" / "a.ply")), "a.ply")


def test_train_without_a_backend(snapshot: Callable, splat: bpy.types.Object) -> None:
    before = snapshot()
    refused(lambda: bpy.ops.saga.train(), "The backend is not running. Press Start")
    assert snapshot() == before


def test_start_of_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLENDER_SAGA_PYTHON", raising=False)
    refused(lambda: bpy.ops.saga.backend_start(), "The backend is not installed.*Press Install")


def test_start_with_a_python_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", str(tmp_path / "python"))
    refused(lambda: bpy.ops.saga.backend_start(), "there is no file")


def test_install_needs_online_access() -> None:
    assert not bpy.app.online_access  # as Blender comes
    refused(lambda: bpy.ops.saga.backend_install(), "online access is disabled")


def test_cancel_of_nothing() -> None:
    refused(lambda: bpy.ops.saga.cancel(), "Nothing is running")


def test_stop_of_nothing_is_fine() -> None:
    assert bpy.ops.saga.backend_stop() == {"FINISHED"}


def test_splitting_nothing_and_splitting_everything(snapshot: Callable, splat: bpy.types.Object) -> None:
    before = snapshot()
    refused(lambda: bpy.ops.saga.split(), "Nothing is selected in good. Click on an object first")
    assert snapshot() == before
    bpy.ops.saga.invert()
    before = snapshot()
    refused(lambda: bpy.ops.saga.split(), "Nothing can be split from good: all of its Gaussians are selected")
    assert snapshot() == before


@pytest.mark.parametrize(
    "box", [(-50, -50, -20, -20), (120, 10, 150, 30), (10, 90, 40, 120)], ids=["below", "beside", "above"]
)
def test_a_box_beside_the_picture(box: tuple[int, ...], snapshot: Callable, splat: bpy.types.Object) -> None:
    before = snapshot()
    corners = dict(zip(("x", "y", "x2", "y2"), box, strict=True))
    call = lambda: bpy.ops.saga.click(**CLICK | corners, box=True)  # noqa: E731
    refused(call, "The box is outside the view. Draw it over the object")
    assert snapshot() == before


def test_a_locked_folder_is_not_where_the_model_goes(
    tmp_path: Path, splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who runs these tests may be root, to whom no folder is locked: the answer of the system is pretended."""
    paths = addon("scene.state.paths")
    assert paths.model_path(splat, "x") == tmp_path / "good.saga"
    monkeypatch.setattr(paths.os, "access", lambda *_: False)
    assert paths.model_path(splat, "x") == paths.user_folder("models") / "good.saga"
