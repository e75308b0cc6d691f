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
from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.paths import DATA

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
    assert len(obj.data.points) == count and addon("scene.splat.point_cloud").sh_degree(obj) == degree
    assert obj.name == Path(name).stem.removesuffix(".compressed")
    np.testing.assert_array_equal(addon("scene.splat.point_cloud").ids(obj), np.arange(count))


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


def test_ascii_stays_ascii_byte_for_byte(tmp_path: Path) -> None:
    plain = PlyData.read(str(with_extras(tmp_path / "plain.ply")))["vertex"]
    PlyData([plain], text=True).write(str(tmp_path / "a.ply"))
    (obj,) = imported(tmp_path / "a.ply")
    exported(tmp_path / "b.ply")
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")
    obj.location = (0, 0, 1)
    assert len(exported(tmp_path / "c.ply")) == 60


@needs_data
def test_a_real_capture_is_the_same_file(tmp_path: Path) -> None:
    imported(SPLATS / "playbot_sh2.ply")
    exported(tmp_path / "b.ply")
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(SPLATS / "playbot_sh2.ply")


def test_edited_points_alone_are_written_anew(tmp_path: Path) -> None:
    (obj,) = imported(with_extras(tmp_path / "a.ply"))
    places = addon("scene.splat.point_cloud").positions(obj).copy()
    places[7] += (0, 0, 1)
    addon("scene.splat.attributes").write(obj.data, "position", "FLOAT_VECTOR", places)
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
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    part = addon("scene.splat.point_cloud").split(obj)
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
    addon("scene.splat.attributes").write(one.data, "saga:hidden", "BOOLEAN", np.arange(30) < 10)
    assert len(exported(tmp_path / "a.ply", scope="VISIBLE")) == 50
    other.hide_set(True)
    assert len(exported(tmp_path / "b.ply", scope="VISIBLE")) == 20


def test_numbers_of_objects_and_clusters_on_request(tmp_path: Path) -> None:
    one, _ = two(tmp_path)
    addon("scene.splat.attributes").write(one.data, "saga:cluster", "INT", np.arange(30) + 5)
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


def test_what_a_format_loses_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    two(tmp_path)
    exported(tmp_path / "a.splat")
    assert "no spherical harmonics" in capfd.readouterr().out


def test_targets_that_cannot_be_are_refused(tmp_path: Path) -> None:
    two(tmp_path)
    refused(lambda: exported(tmp_path / "a.sog"), "only supported for reading")
    refused(lambda: exported(tmp_path / "a.obj"), "its extension is not supported")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.ply", "two.ply"]


def test_half_of_a_large_splat_keeps_its_rows(tmp_path: Path) -> None:
    # So large that its parts lie otherwise in the blocks of a matrix product.
    write_inria(tmp_path / "a.ply", random_cloud(70_001, 3))
    (obj,) = imported(tmp_path / "a.ply")
    mask = np.random.default_rng(0).random(70_001) < 0.37
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    exported(tmp_path / "b.ply", selection_only=True)
    assert vertex_bytes(tmp_path / "b.ply") == PlyData.read(str(tmp_path / "a.ply"))["vertex"].data[mask].tobytes()
