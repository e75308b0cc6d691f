"""The data model in Blender: names, types and values of the attributes; selection; split; what a .blend keeps."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.clouds import random_cloud
from tests.blender.support import addon


def raw(obj: bpy.types.Object, name: str, field: str, width: int) -> np.ndarray:
    """An attribute read without the code under test."""
    data = obj.data.attributes[name].data
    values = np.empty(len(data) * width, np.float32)
    data.foreach_get(field, values)
    return values.reshape(-1, width)


def make(n: int = 50, degree: int = 1, seed: int = 0) -> tuple[bpy.types.Object, object]:
    """A linked, active splat object and the cloud it was made from."""
    cloud = random_cloud(n, degree, seed)
    obj = addon("scene.splat.point_cloud").create_object("thing", cloud, "RDF")
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.objects.active = obj
    return obj, cloud


@pytest.mark.parametrize("degree", range(5))
def test_attributes_are_those_of_the_design(degree: int) -> None:
    obj, cloud = make(degree=degree)
    there = {a.name: (a.data_type, a.domain) for a in obj.data.attributes}
    wanted = {
        "position": "FLOAT_VECTOR",
        "scale": "FLOAT_VECTOR",
        "rotation": "QUATERNION",
        "radiance:base": "FLOAT4",
        ".selection": "BOOLEAN",
        "saga:id": "INT",
        "radius": "FLOAT",
    } | {f"radiance:sh_{i}": "FLOAT_VECTOR" for i in range((0, 3, 8, 15, 24)[degree])}
    assert there == {name: (kind, "POINT") for name, kind in wanted.items()}

    np.testing.assert_array_equal(raw(obj, "position", "vector", 3), cloud.means)
    np.testing.assert_array_equal(raw(obj, "scale", "vector", 3), cloud.scales)
    np.testing.assert_array_equal(raw(obj, "rotation", "value", 4), cloud.quats)
    base = raw(obj, "radiance:base", "vector", 4)
    np.testing.assert_array_equal(base[:, :3], cloud.sh[:, 0])
    np.testing.assert_array_equal(base[:, 3], cloud.opacities)
    for i in range(1, cloud.sh.shape[1]):
        np.testing.assert_array_equal(raw(obj, f"radiance:sh_{i - 1}", "vector", 3), cloud.sh[:, i])
    np.testing.assert_array_equal(raw(obj, "saga:id", "value", 1)[:, 0], np.arange(50))
    assert not raw(obj, ".selection", "value", 1).any()


@pytest.mark.parametrize("degree", range(5))
def test_object_and_back_is_the_same_cloud(degree: int) -> None:
    obj, cloud = make(degree=degree)
    back = addon("scene.splat.point_cloud").to_cloud(obj)
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cloud, name))
    assert back.fingerprint() == cloud.fingerprint() == obj.saga.fingerprint
    assert (obj.saga.count, obj.saga.axes, obj.saga.model_file) == (50, "RDF", "")


def test_selection_is_what_edit_mode_selects() -> None:
    obj, _ = make()
    mask = np.arange(50) % 7 == 0
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").selection(obj), mask)
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.pointcloud.delete()  # Blender's own: deletes what is selected
    bpy.ops.object.mode_set(mode="OBJECT")
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), np.arange(50)[~mask])


def test_no_selection_attribute_selects_nothing() -> None:
    obj, _ = make()
    obj.data.attributes.remove(obj.data.attributes[".selection"])
    assert addon("scene.splat.point_cloud").selection(obj).shape == (50,)
    assert not addon("scene.splat.point_cloud").selection(obj).any()


def test_similarity_is_written() -> None:
    obj, _ = make()
    scores = np.linspace(-1, 1, 50, dtype=np.float32)
    addon("scene.splat.point_cloud").set_similarity(obj, scores)
    assert obj.data.attributes["saga:similarity"].data_type == "FLOAT"
    np.testing.assert_array_equal(raw(obj, "saga:similarity", "value", 1)[:, 0], scores)


@pytest.mark.parametrize("remove_attribute", [False, True])
def test_splitting_nothing_is_a_report_and_changes_nothing(remove_attribute: bool, snapshot) -> None:
    obj, _ = make()
    if remove_attribute:
        obj.data.attributes.remove(obj.data.attributes[".selection"])
    before = snapshot()
    with pytest.raises(RuntimeError, match="Nothing is selected in thing"):
        bpy.ops.saga.split()
    assert snapshot() == before


def test_splitting_everything_is_a_report_and_changes_nothing(snapshot) -> None:
    obj, _ = make()
    addon("scene.splat.point_cloud").set_selection(obj, np.ones(50, bool))
    before = snapshot()
    with pytest.raises(RuntimeError, match="all of its Gaussians are selected"):
        bpy.ops.saga.split()
    assert snapshot() == before


# What a user may have added. FLOAT_COLOR needs no entry of its own: BYTE_COLOR is the harder one.
FOREIGN = {
    "heat": ("FLOAT", 1),
    "tint": ("BYTE_COLOR", 4),
    "uv": ("FLOAT2", 2),
    "flag": ("BOOLEAN", 1),
    "group": ("INT8", 1),
}


def test_split_keeps_all_attributes_and_ids() -> None:
    obj, cloud = make(degree=2)
    rng = np.random.default_rng(1)
    for name, (kind, width) in FOREIGN.items():
        addon("scene.splat.attributes").write(obj.data, name, kind, rng.integers(0, 2, (50, width)))
    read = addon("scene.splat.attributes").read
    before = {a.name: read(a) for a in obj.data.attributes if a.name != ".selection"}
    kinds = {a.name: a.data_type for a in obj.data.attributes}
    obj.location, obj.rotation_euler, obj.scale = (1, 2, 3), (0.1, 0.2, 0.3), (1, 2, 1)
    mask = rng.random(50) < 0.4
    addon("scene.splat.point_cloud").set_selection(obj, mask)

    assert bpy.ops.saga.split() == {"FINISHED"}

    part = bpy.context.view_layer.objects.active
    assert part is not obj and part.name in bpy.context.collection.objects
    assert bpy.context.selected_objects == [part]
    for holder, kept in ((part, mask), (obj, ~mask)):
        assert {a.name: a.data_type for a in holder.data.attributes} == kinds
        for name, values in before.items():
            np.testing.assert_array_equal(read(holder.data.attributes[name]), values[kept], err_msg=name)
        assert not addon("scene.splat.point_cloud").selection(holder).any()
    assert part.matrix_world == obj.matrix_world
    assert part.saga.fingerprint == obj.saga.fingerprint == cloud.fingerprint()


def test_split_of_a_linked_duplicate_leaves_the_other_whole() -> None:
    obj, _ = make()
    other = obj.copy()
    bpy.context.collection.objects.link(other)
    addon("scene.splat.point_cloud").set_selection(obj, np.arange(50) < 10)
    bpy.ops.saga.split(object="thing")
    assert (len(obj.data.points), len(other.data.points)) == (40, 50)


def test_split_can_be_undone() -> None:
    obj, cloud = make()
    addon("scene.splat.point_cloud").set_selection(obj, np.arange(50) < 10)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.saga.split("EXEC_DEFAULT", True)  # True: with an undo step, as a button
    assert len(bpy.data.objects) == 2
    bpy.ops.ed.undo()
    assert [o.name for o in bpy.data.objects] == ["thing"]
    back = addon("scene.splat.point_cloud").to_cloud(bpy.data.objects["thing"])
    np.testing.assert_array_equal(back.means, cloud.means)


def test_invert_and_clear() -> None:
    obj, _ = make()
    mask = np.arange(50) < 10
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    bpy.ops.saga.invert()
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").selection(obj), ~mask)
    bpy.ops.saga.clear()
    assert not addon("scene.splat.point_cloud").selection(obj).any()


def test_a_saved_file_keeps_everything(tmp_path: Path) -> None:
    obj, cloud = make(degree=3)
    mask = np.arange(50) % 2 == 0
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    obj.saga.source, obj.saga.model_file = "/somewhere/file.ply", "//thing.saga"
    bpy.context.scene.saga.scale = 0.25
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "file.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "file.blend"))

    obj = bpy.data.objects["thing"]
    back = addon("scene.splat.point_cloud").to_cloud(obj)
    for name in ("means", "quats", "scales", "opacities", "sh"):
        np.testing.assert_array_equal(getattr(back, name), getattr(cloud, name))
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").selection(obj), mask)
    assert obj.saga.fingerprint == cloud.fingerprint()
    assert (obj.saga.source, obj.saga.model_file, obj.saga.axes) == ("/somewhere/file.ply", "//thing.saga", "RDF")
    assert bpy.context.scene.saga.scale == 0.25
