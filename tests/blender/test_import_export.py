"""Files in and out, against plyfile and scipy as referees."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix

from tests.blender.clouds import colors, covariances, random_cloud, read_inria, write_inria
from tests.blender.support import addon
from tests.paths import DATA

RDF_TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # x right, y down, z forward -> z up


def imported(path: Path) -> bpy.types.Object:
    assert bpy.ops.saga.import_splat(filepath=str(path)) == {"FINISHED"}
    obj = bpy.context.view_layer.objects.active
    assert bpy.context.selected_objects == [obj]
    return obj


@pytest.mark.parametrize("degree", range(4))
def test_import_operator_equals_the_functions(tmp_path: Path, degree: int) -> None:
    write_inria(tmp_path / "vase.ply", random_cloud(200, degree))
    obj = imported(tmp_path / "vase.ply")
    assert (obj.name, obj.type, obj.saga.source) == ("vase", "POINTCLOUD", str(tmp_path / "vase.ply"))
    transforms = addon("gaussians.transforms")
    cloud = transforms.transform_cloud(
        addon("gaussians.ply").read_ply(tmp_path / "vase.ply").cloud, transforms.RDF_TO_BLENDER
    )
    other = addon("scene.splat.point_cloud").create_object("other", cloud, "RDF")
    read = addon("scene.splat.attributes").read
    assert [a.name for a in obj.data.attributes] == [a.name for a in other.data.attributes]
    for a, b in zip(obj.data.attributes, other.data.attributes, strict=True):
        np.testing.assert_array_equal(read(a), read(b), err_msg=a.name)


def test_import_turns_y_down_into_z_up(tmp_path: Path) -> None:
    cloud = random_cloud(100, 1)
    write_inria(tmp_path / "a.ply", cloud)
    back = addon("scene.splat.point_cloud").to_cloud(imported(tmp_path / "a.ply"))
    turn = RDF_TO_BLENDER
    np.testing.assert_allclose(back.means, cloud.means @ turn.T, atol=1e-6)
    wanted = turn @ covariances(cloud.quats, cloud.scales) @ turn.T
    np.testing.assert_allclose(covariances(back.quats, back.scales), wanted, atol=1e-6)
    seen = np.random.default_rng(2).normal(size=(100, 3))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    np.testing.assert_allclose(colors(back.sh, seen @ turn.T), colors(cloud.sh, seen), atol=1e-5)


def check_same_file(first: Path, second: Path, atol: float = 2e-5) -> None:
    """Two files hold the same Gaussians in the same order (quaternions up to sign and length)."""
    a, b = read_inria(first), read_inria(second)
    for name in ("means", "scales", "opacities", "sh"):
        np.testing.assert_allclose(b[name], a[name], atol=atol, rtol=1e-4, err_msg=name)
    unit = [f["quats"] / np.linalg.norm(f["quats"], axis=1, keepdims=True) for f in (a, b)]
    np.testing.assert_allclose(np.abs((unit[0] * unit[1]).sum(axis=1)), 1, atol=1e-5)


@pytest.mark.parametrize("degree", range(5))
def test_import_then_export_is_the_same_file(tmp_path: Path, degree: int) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(300, degree))
    imported(tmp_path / "a.ply")
    assert bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply")) == {"FINISHED"}
    check_same_file(tmp_path / "a.ply", tmp_path / "b.ply")


def test_round_trip_of_a_real_capture(tmp_path: Path) -> None:
    capture = DATA / "splats" / "playbot_sh2.ply"
    if not capture.exists():
        pytest.skip("../shared/data/splats/playbot_sh2.ply is not there")
    obj = imported(capture)
    assert len(obj.data.points) == 31_000 and "radiance:sh_7" in obj.data.attributes
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"))
    check_same_file(capture, tmp_path / "b.ply", atol=1e-4)


MOTIONS = {
    "moved": Matrix.Translation((1, -2, 3)),
    "rotated": Matrix.LocRotScale((1, 2, 3), Euler((0.5, -1.0, 2.0)), None),
    "scaled": Matrix.LocRotScale(None, Euler((0.5, 0, 0)), (2, 2, 2)),
    "non-uniform": Matrix.LocRotScale((0, 0, 1), Euler((0.3, 0.4, 0.5)), (0.5, 2.0, 1.3)),
    "mirrored": Matrix.LocRotScale(None, Euler((0, 0, math.pi / 3)), (1, -1, 1)),
}


@pytest.mark.parametrize("motion", MOTIONS)
def test_export_in_world_space_bakes_the_object_matrix(tmp_path: Path, motion: str) -> None:
    cloud = random_cloud(150, 1)
    write_inria(tmp_path / "a.ply", cloud)
    imported(tmp_path / "a.ply").matrix_world = MOTIONS[motion]
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"), world_space=True)

    got = read_inria(tmp_path / "b.ply")
    matrix = np.array(MOTIONS[motion])
    linear = RDF_TO_BLENDER.T @ matrix[:3, :3] @ RDF_TO_BLENDER  # the same motion, seen in the axes of the file
    np.testing.assert_allclose(got["means"], cloud.means @ linear.T + RDF_TO_BLENDER.T @ matrix[:3, 3], atol=1e-5)
    wanted = linear @ covariances(cloud.quats, cloud.scales) @ linear.T
    np.testing.assert_allclose(covariances(got["quats"], got["scales"]), wanted, atol=2e-6)
    u, _, vt = np.linalg.svd(linear)
    seen = np.random.default_rng(3).normal(size=(150, 3))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    np.testing.assert_allclose(colors(got["sh"], seen @ (u @ vt).T), colors(cloud.sh, seen), atol=1e-5)


def test_export_in_object_space_ignores_the_object_matrix(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(50, 1))
    imported(tmp_path / "a.ply").matrix_world = MOTIONS["non-uniform"]
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"), world_space=False)
    check_same_file(tmp_path / "a.ply", tmp_path / "b.ply")


def test_export_of_the_selection_only(tmp_path: Path) -> None:
    cloud = random_cloud(50, 0)
    write_inria(tmp_path / "a.ply", cloud)
    obj = imported(tmp_path / "a.ply")
    mask = np.arange(50) % 3 == 0
    addon("scene.splat.point_cloud").set_selection(obj, mask)
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "b.ply"), selection_only=True)
    np.testing.assert_allclose(read_inria(tmp_path / "b.ply")["means"], cloud.means[mask], atol=1e-6)
