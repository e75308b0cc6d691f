"""Axes, up axis and scale, in and out; and that all that is exported stands where it stood."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import write_splat
from tests.blender.clouds import random_cloud, read_inria, write_inria
from tests.blender.support import addon
from tests.blender.test_apply_transform import look, same_picture
from tests.blender.test_splat_files import exported, imported, vertex_bytes

# Where x, y and z of a file go in Blender, by what the letters of the axes mean there.
IN_BLENDER = {"R": (1, 0, 0), "L": (-1, 0, 0), "U": (0, 0, 1), "D": (0, 0, -1), "F": (0, 1, 0), "B": (0, -1, 0)}
AXES = ["RDF", "RUB", "LUF", "RUF", "RFU", "FRU"]
NATIVE = {".ply": "RDF", ".splat": "RDF", ".spz": "RUB", ".glb": "LUF"}


def world(obj: bpy.types.Object) -> np.ndarray:
    bpy.context.view_layer.update()
    matrix = np.array(obj.matrix_world)
    return addon("scene.splat.point_cloud").positions(obj) @ matrix[:3, :3].T + matrix[:3, 3]


def numbers(cloud: GaussianCloud, ending: str) -> np.ndarray:
    """The centers as they stand in a file: a cloud that was read has them in the axes of PLY files."""
    return cloud.means * {"RDF": (1, 1, 1), "RUB": (1, -1, -1), "LUF": (-1, -1, 1)}[NATIVE[ending]]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("ending", NATIVE)
def test_the_axes_say_what_the_numbers_of_a_file_mean(tmp_path: Path, ending: str, axes: str) -> None:
    cloud = random_cloud(40, 0)
    write_splat(tmp_path / f"a{ending}", cloud)
    (obj,) = imported(tmp_path / f"a{ending}", axes=axes)
    wanted = numbers(cloud, ending) @ np.array([IN_BLENDER[letter] for letter in axes])
    np.testing.assert_allclose(world(obj), wanted, atol=1e-4)
    (native,) = imported(tmp_path / f"a{ending}", axes=NATIVE[ending])
    (plain,) = imported(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(world(native), world(plain))


@pytest.mark.parametrize("ending", NATIVE)
@pytest.mark.parametrize("up", ["X", "-X", "Y", "-Y", "Z", "-Z"])
def test_the_up_axis_of_the_file_points_up(tmp_path: Path, ending: str, up: str) -> None:
    cloud = random_cloud(40, 0)
    write_splat(tmp_path / f"a{ending}", cloud)
    (obj,) = imported(tmp_path / f"a{ending}", up=up)
    values = numbers(cloud, ending)[:, "XYZ".index(up[-1])] * (-1 if up[0] == "-" else 1)
    np.testing.assert_allclose(world(obj)[:, 2], values, atol=1e-4)
    assert np.isclose(np.linalg.det(np.array(obj.matrix_world)[:3, :3]), 1)  # turned, not mirrored


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("ending", NATIVE)
def test_exported_in_other_axes_and_imported_by_them_it_looks_the_same(tmp_path: Path, ending: str, axes: str) -> None:
    write_inria(tmp_path / "in.ply", random_cloud(300, 3))
    (obj,) = imported(tmp_path / "in.ply")
    obj.rotation_euler = (0.2, -0.1, 0.4)
    bpy.context.view_layer.update()
    exported(tmp_path / f"out{ending}", axes=axes, scale=2.0)
    read = addon("gaussians.formats.registry").read_splat(tmp_path / f"out{ending}").cloud
    meaning = np.array([IN_BLENDER[letter] for letter in axes])
    np.testing.assert_allclose(numbers(read, ending) @ meaning, 2 * world(obj), atol=1e-3)
    if ending in (".ply", ".glb"):  # the others round
        (again,) = imported(tmp_path / f"out{ending}", axes=axes, scale=0.5)
        same_picture(look(obj), look(again))


def test_options_stand_in_the_objects_matrix_and_undo_themselves(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(50, 3))
    plain, up, large, flat = (
        imported(tmp_path / "a.ply", **options)[0] for options in ({}, {"up": "Z"}, {"scale": 2.5}, {"sh_degree": 1})
    )
    np.testing.assert_allclose(world(large), 2.5 * world(plain), atol=1e-6)
    assert addon("scene.splat.point_cloud").sh_degree(flat) == 1
    exported(tmp_path / "b.ply", object=up.name, world_space=False)
    assert vertex_bytes(tmp_path / "b.ply") == vertex_bytes(tmp_path / "a.ply")


def test_a_splat_of_another_import_stands_where_it_stood(tmp_path: Path) -> None:
    """Its numbers were never turned to Blender's axes; beside one whose numbers were, both must stay in place."""
    write_inria(tmp_path / "a.ply", random_cloud(30, 1))
    (ours,) = imported(tmp_path / "a.ply")
    bpy.ops.wm.ply_import(filepath=str(tmp_path / "a.ply"))
    bpy.ops.saga.adopt()
    theirs = bpy.context.view_layer.objects.active
    theirs.rotation_euler, theirs.location = (-1.5, 0.1, 0), (4, 0, 0)
    ours.select_set(True)
    bpy.context.view_layer.update()
    exported(tmp_path / "b.ply")
    (again,) = imported(tmp_path / "b.ply")
    wanted = np.concatenate([world(ours), world(theirs)])
    order = [np.lexsort(points.round(4).T) for points in (wanted, world(again))]
    np.testing.assert_allclose(world(again)[order[1]], wanted[order[0]], atol=1e-5)
    exported(tmp_path / "c.ply", object=theirs.name, world_space=False)  # as it came
    np.testing.assert_allclose(read_inria(tmp_path / "c.ply")["means"], read_inria(tmp_path / "a.ply")["means"])


def test_scales_and_rotations_that_no_file_has_are_made_sound(tmp_path: Path) -> None:
    """Nodes and scripts may write anything; one negative scale would turn a whole glTF into one of logarithms."""
    write_inria(tmp_path / "a.ply", random_cloud(300, 1))
    (obj,) = imported(tmp_path / "a.ply")
    before, cloud = look(obj), addon("scene.splat.point_cloud").to_cloud(obj)
    write = addon("scene.splat.attributes").write
    write(obj.data, "scale", "FLOAT_VECTOR", cloud.scales * np.where(np.arange(300) % 2, 1, -1)[:, None])
    write(obj.data, "rotation", "QUATERNION", cloud.quats * 3)
    for name in ("b.glb", "b.spz", "b.ply"):
        exported(tmp_path / name, object=obj.name)
        (again,) = imported(tmp_path / name)
        difference = np.abs(before - look(again))
        assert difference.max() <= (8 if name == "b.spz" else 1) / 255
