"""Files of every format into Blender and out of it: what is kept, what is refused, what goes out byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest
from plyfile import PlyData, PlyElement

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import read_splat, write_splat

from .clouds import random_cloud, read_inria, write_inria
from .support import DATA, addon
from .test_bad_input import refused

SPLATS = DATA / "splats"
needs_data = pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")


def imported(*paths: Path, **options: object) -> list[bpy.types.Object]:
    names = [{"name": path.name} for path in paths]
    assert bpy.ops.saga.import_splat(directory=str(paths[0].parent), files=names, **options) == {"FINISHED"}
    return list(bpy.context.selected_objects)


def exported(path: Path, **options: object) -> GaussianCloud:
    assert bpy.ops.saga.export_splat(filepath=str(path), **options) == {"FINISHED"}
    return read_splat(path).cloud


def vertex_bytes(path: Path) -> bytes:
    return path.read_bytes().partition(b"end_header\n")[2]


def with_extras(path: Path, n: int = 60) -> Path:
    """A PLY with its properties in an odd order, two of them unknown, normals that say something, no unit rotations."""
    write_inria(path, random_cloud(n, 2))
    plain = PlyData.read(str(path))["vertex"].data
    names = list(np.random.default_rng(1).permutation([*plain.dtype.names, "confidence", "label"]))
    rows = np.zeros(n, [(name, "<u2" if name == "label" else "<f4") for name in names])
    for name in plain.dtype.names:
        rows[name] = plain[name] * (3.7 if name.startswith("rot") else 1)
    rows["confidence"], rows["label"], rows["ny"] = np.linspace(0, 1, n), np.arange(n), 0.25
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(path))
    return path


# --- in ------------------------------------------------------------------------------------------------------------


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "degree"),
    [
        ("guitar.compressed.ply", 90_854, 0),
        ("playbot.splat", 31_000, 0),
        ("playbot_sh2.sog", 31_000, 2),
        ("formats/minimal.ksplat", 4, 0),
        ("formats/test-splat.3-points-from-train.spz", 3, 3),
        ("formats/khr_conformance_matrix.glb", 15, 3),
    ],
)
def test_every_format_comes_in(name: str, count: int, degree: int) -> None:
    (obj,) = imported(SPLATS / name)
    assert len(obj.data.points) == count and addon("scene.point_cloud").sh_degree(obj) == degree
    assert obj.name == Path(name).stem.removesuffix(".compressed")
    np.testing.assert_array_equal(addon("scene.point_cloud").ids(obj), np.arange(count))


@needs_data
def test_a_sog_comes_in_through_blenders_own_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = read_splat(SPLATS / "playbot_sh2.sog").cloud.fingerprint()
    monkeypatch.setattr(addon("gaussians.formats.images"), "_pillow", lambda: [])
    before = len(bpy.data.images)
    (obj,) = imported(SPLATS / "playbot_sh2.sog")
    assert obj.saga.fingerprint == wanted and len(bpy.data.images) == before


def test_several_files_at_once(tmp_path: Path) -> None:
    for name, degree in (("a.ply", 0), ("b.spz", 1), ("c.glb", 3)):
        write_splat(tmp_path / name, random_cloud(20, degree))
    objects = imported(tmp_path / "a.ply", tmp_path / "b.spz", tmp_path / "c.glb")
    assert sorted(obj.name for obj in objects) == ["a", "b", "c"]
    assert bpy.context.view_layer.objects.active.name == "c"


def test_one_bad_file_of_several_leaves_the_scene_as_it_was(tmp_path: Path, snapshot: Callable) -> None:
    write_splat(tmp_path / "a.ply", random_cloud(20, 0))
    (tmp_path / "b.spz").write_bytes(b"\x1f\x8bnothing")
    before = snapshot()
    refused(lambda: imported(tmp_path / "a.ply", tmp_path / "b.spz"), "b.spz cannot be read: at byte 0")
    assert snapshot() == before


def test_options_stand_in_the_objects_matrix_and_undo_themselves(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(50, 3))
    plain, up, z_up, large, flat = (
        imported(tmp_path / "a.ply", **options)[0]
        for options in ({}, {"up": "Y_UP"}, {"up": "Z_UP"}, {"scale": 2.5}, {"sh_degree": 1})
    )
    bpy.context.view_layer.update()
    means = read_inria(tmp_path / "a.ply")["means"]
    point_cloud = addon("scene.point_cloud")

    def world(obj: bpy.types.Object) -> np.ndarray:
        return point_cloud.positions(obj) @ np.array(obj.matrix_world)[:3, :3].T

    np.testing.assert_allclose(world(plain), means[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    np.testing.assert_allclose(world(up), means[:, [0, 2, 1]] * [1, -1, 1], atol=1e-6)
    np.testing.assert_allclose(world(z_up), means, atol=1e-6)
    np.testing.assert_allclose(world(large), 2.5 * world(plain), atol=1e-6)
    assert point_cloud.sh_degree(flat) == 1
    exported(tmp_path / "b.ply", object=up.name, world_space=False)
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")


def test_files_can_be_dropped() -> None:
    handler = addon("ui.import_ops").SAGA_FH_splat
    assert handler.bl_import_operator == "saga.import_splat" and handler.is_registered
    assert {".ply", ".spz", ".splat", ".sog", ".ksplat", ".glb"} <= set(handler.bl_file_extensions.split(";"))


# --- out, byte for byte ----------------------------------------------------------------------------------------------


def test_nothing_edited_is_the_same_file(tmp_path: Path) -> None:
    imported(with_extras(tmp_path / "a.ply"))
    exported(tmp_path / "b.ply")
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")
    exported(tmp_path / "a.ply")  # onto the file it came from
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")


@needs_data
def test_a_real_capture_is_the_same_file(tmp_path: Path) -> None:
    imported(SPLATS / "playbot_sh2.ply")
    exported(tmp_path / "b.ply")
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(SPLATS / "playbot_sh2.ply")


def test_edited_points_alone_are_written_anew(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    places = addon("scene.point_cloud").positions(obj).copy()
    places[7] += (0, 0, 1)
    addon("scene.attributes").write(obj.data, "position", "FLOAT_VECTOR", places)
    exported(tmp_path / "b.ply")
    a, b = (PlyData.read(str(tmp_path / name))["vertex"].data for name in ("a.ply", "b.ply"))
    assert a.dtype == b.dtype
    others = np.arange(60) != 7
    assert a[others].tobytes() == b[others].tobytes()
    assert b["y"][7] == pytest.approx(a["y"][7] - 1, abs=1e-6)  # up in Blender is -y in the file
    assert (b["label"][7], b["ny"][7]) == (7, 0.25)


def test_both_parts_of_a_split_keep_their_rows(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    mask = np.arange(60) % 4 == 1
    addon("scene.point_cloud").set_selection(obj, mask)
    part = addon("scene.point_cloud").split(obj)
    rows = PlyData.read(str(tmp_path / "a.ply"))["vertex"].data
    for name, kept in ((obj.name, ~mask), (part.name, mask)):
        exported(tmp_path / "b.ply", object=name)
        assert vertex_bytes(tmp_path / "b.ply") == rows[kept].tobytes()


def test_extra_properties_live_as_attributes_and_survive_without_the_source(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    assert {"ply:confidence", "ply:label", "ply:ny"} <= {a.name for a in obj.data.attributes}
    (tmp_path / "a.ply").rename(tmp_path / "c.ply")
    exported(tmp_path / "b.ply")
    a, b = (PlyData.read(str(tmp_path / name))["vertex"].data for name in ("c.ply", "b.ply"))
    for name in ("confidence", "label", "ny"):
        np.testing.assert_array_equal(a[name], b[name])
    for name in ("x", "f_dc_1", "f_rest_5", "opacity", "scale_2"):
        np.testing.assert_allclose(a[name], b[name], atol=3e-6)


# --- what is exported ------------------------------------------------------------------------------------------------


def two(tmp_path: Path) -> tuple[bpy.types.Object, bpy.types.Object]:
    for name, seed in (("one", 1), ("two", 2)):
        write_inria(tmp_path / f"{name}.ply", random_cloud(30, 1, seed))
    objects = imported(tmp_path / "one.ply", tmp_path / "two.ply")
    return tuple(sorted(objects, key=lambda obj: obj.name))


def test_selected_objects_merge_or_go_one_each(tmp_path: Path) -> None:
    two(tmp_path)
    assert len(exported(tmp_path / "all.ply")) == 60
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "each.ply"), one_each=True)
    for name in ("one", "two"):
        assert vertex_bytes(tmp_path / f"each-{name}.ply") == vertex_bytes(tmp_path / f"{name}.ply")


def test_visible_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    one, other = two(tmp_path)
    addon("scene.attributes").write(one.data, "saga:hidden", "BOOLEAN", np.arange(30) < 10)
    assert len(exported(tmp_path / "a.ply", scope="VISIBLE")) == 50
    other.hide_set(True)
    assert len(exported(tmp_path / "b.ply", scope="VISIBLE")) == 20


def test_numbers_of_objects_and_clusters_on_request(tmp_path: Path) -> None:
    one, _ = two(tmp_path)
    addon("scene.attributes").write(one.data, "saga:cluster", "INT", np.arange(30) + 5)
    exported(tmp_path / "a.ply", with_objects=True, with_clusters=True)
    data = PlyData.read(str(tmp_path / "a.ply"))
    rows = data["vertex"].data
    np.testing.assert_array_equal(np.sort(rows["object"]), np.repeat([1, 2], 30))
    assert sorted(comment.split()[2] for comment in data.comments) == ["one", "two"]
    number = next(int(comment.split()[1]) for comment in data.comments if comment.endswith("one"))
    np.testing.assert_array_equal(rows["cluster"][rows["object"] == number], np.arange(30) + 5)
    assert not rows["cluster"][rows["object"] != number].any()


@pytest.mark.parametrize("ending", [".ply", ".compressed.ply", ".spz", ".splat", ".glb"])
def test_every_written_format(tmp_path: Path, ending: str) -> None:
    one, _ = two(tmp_path)
    cloud = exported(tmp_path / f"out{ending}", object=one.name)
    assert len(cloud) == 30 and cloud.sh_degree == (0 if ending == ".splat" else 1)


@pytest.mark.parametrize("version", ["3", "4"])
def test_spz_in_the_version_that_was_chosen(tmp_path: Path, version: str) -> None:
    imported(with_extras(tmp_path / "a.ply"))
    cloud = exported(tmp_path / "b.spz", spz_version=version)
    assert len(cloud) == 60 and read_splat(tmp_path / "b.spz").version == version


def test_parents_constraints_and_instances_count(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(20, 0))
    (obj,) = imported(tmp_path / "a.ply")
    means = read_inria(tmp_path / "a.ply")["means"]
    parent = bpy.data.objects.new("parent", None)
    bpy.context.collection.objects.link(parent)
    parent.location, parent.scale = (1, 0, 0), (2, 2, 2)
    obj.parent = parent
    constraint = obj.constraints.new("COPY_LOCATION")
    constraint.target = target = bpy.data.objects.new("target", None)
    bpy.context.collection.objects.link(target)
    target.location = (0, 0, 5)
    got = exported(tmp_path / "b.ply", object=obj.name).means
    np.testing.assert_allclose(got, 2 * means + [0, -5, 0], atol=1e-5)  # z up in Blender is -y in the file

    collection = bpy.data.collections.new("hall")
    collection.objects.link(obj)
    bpy.context.collection.objects.unlink(obj)
    obj.constraints.clear()
    obj.parent = None
    for x in (10, 20):
        empty = bpy.data.objects.new("place", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        empty.location = (x, 0, 0)
        bpy.context.collection.objects.link(empty)
        empty.select_set(True)
    got = np.sort(exported(tmp_path / "c.ply").means[:, 0])
    np.testing.assert_allclose(got, np.sort(np.concatenate([means[:, 0] + 10, means[:, 0] + 20])), atol=1e-5)


def test_modifiers_are_evaluated(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(20, 1))
    (obj,) = imported(tmp_path / "a.ply")
    tree = bpy.data.node_groups.new("keep four", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    names = ("NodeGroupInput", "GeometryNodeInputIndex", "FunctionNodeCompare", "GeometryNodeDeleteGeometry")
    first, index, compare, delete = (tree.nodes.new(name) for name in names)
    last = tree.nodes.new("NodeGroupOutput")
    compare.data_type, compare.operation = "INT", "GREATER_EQUAL"
    compare.inputs[1].default_value = 4
    for source, goal in (
        (index.outputs[0], compare.inputs[0]),
        (compare.outputs[0], delete.inputs["Selection"]),
        (first.outputs[0], delete.inputs[0]),
        (delete.outputs[0], last.inputs[0]),
    ):
        tree.links.new(source, goal)
    obj.modifiers.new("nodes", "NODES").node_group = tree
    got = exported(tmp_path / "b.ply").means
    np.testing.assert_allclose(got, read_inria(tmp_path / "a.ply")["means"][:4], atol=1e-6)


def test_what_a_format_loses_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    two(tmp_path)
    exported(tmp_path / "a.splat")
    assert "no spherical harmonics" in capfd.readouterr().out


def test_targets_that_cannot_be_are_refused(tmp_path: Path) -> None:
    two(tmp_path)
    refused(lambda: exported(tmp_path / "a.sog"), "only read")
    refused(lambda: exported(tmp_path / "a.obj"), "its ending is not known")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.ply", "two.ply"]


def test_blender_5_3_is_told_that_a_point_cloud_is_a_splat() -> None:
    class Item:
        def __init__(self, identifier: str) -> None:
            self.identifier = identifier

    class Prop:
        type, is_readonly, identifier = "ENUM", False, "type"
        enum_items = (Item("POINTS"), Item("GAUSSIAN_SPLATS"))

    class Rna:
        properties = (Prop,)

    native = addon("scene.native")
    assert native.splat_type(Rna) == ("type", "GAUSSIAN_SPLATS")
    assert native.splat_type(bpy.types.PointCloud.bl_rna) is None  # 5.2 has none


def test_half_of_a_large_splat_keeps_its_rows(tmp_path: Path) -> None:
    # So large that its parts lie otherwise in the blocks of a matrix product.
    write_inria(tmp_path / "a.ply", random_cloud(70_001, 3))
    (obj,) = imported(tmp_path / "a.ply")
    mask = np.random.default_rng(0).random(70_001) < 0.37
    addon("scene.point_cloud").set_selection(obj, mask)
    exported(tmp_path / "b.ply", selection_only=True)
    assert vertex_bytes(tmp_path / "b.ply") == PlyData.read(str(tmp_path / "a.ply"))["vertex"].data[mask].tobytes()
