"""PLY reading and writing; plyfile is the second reader and writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import SH_COEFFICIENTS, GaussianCloud
from blender_saga.gaussians.ply import read_ply, write_ply
from tests.paths import DATA

plyfile = pytest.importorskip("plyfile", reason="plyfile is the second reader")

SPLATS = DATA / "splats"
FLOATS = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
FLOATS += ["rot_0", "rot_1", "rot_2", "rot_3"]


def random_cloud(n: int, degree: int, seed: int = 0) -> GaussianCloud:
    random = np.random.default_rng(seed)
    quats = random.normal(size=(n, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(random.uniform(-9, 2, (n, 3)))
    return GaussianCloud(
        random.normal(size=(n, 3)),
        quats,
        scales,
        random.uniform(0, 1, n),
        random.normal(size=(n, (degree + 1) ** 2, 3)),
    )


def raw_table(n: int, rest: int = 0, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """A structured array as a trainer would write it, with the properties in a shuffled order."""
    random = np.random.default_rng(seed)
    names = FLOATS + [f"f_rest_{i}" for i in range(rest)]
    table = np.zeros(n, [(name, dtype) for name in random.permutation(names)])
    for name in names:
        table[name] = random.normal(size=n)
    return table


def save(path: Path, table: np.ndarray, text: bool = False, order: str = "<") -> Path:
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], text=text, byte_order=order).write(path)
    return path


def assert_same(a: GaussianCloud, b: GaussianCloud) -> None:
    np.testing.assert_array_equal(a.means, b.means)
    np.testing.assert_array_equal(a.sh, b.sh)
    np.testing.assert_allclose(a.quats, b.quats, atol=2e-7)
    np.testing.assert_allclose(a.scales, b.scales, rtol=2e-6)
    np.testing.assert_allclose(a.opacities, b.opacities, atol=2e-7)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), degree=st.integers(0, 4), seed=st.integers(0, 99))
def test_round_trip(tmp_path_factory, n, degree, seed):
    cloud = random_cloud(n, degree, seed)
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    write_ply(path, cloud)
    loaded = read_ply(path)
    assert loaded.kept is None and loaded.warnings == ()
    assert_same(loaded.cloud, cloud)


def test_extreme_values_stay_finite(tmp_path):
    cloud = random_cloud(3, 1)
    cloud = GaussianCloud(cloud.means, cloud.quats, cloud.scales * 0, np.array([0.0, 1.0, 0.5]), cloud.sh)
    write_ply(tmp_path / "a.ply", cloud)
    table = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"].data
    assert all(np.isfinite(table[name]).all() for name in table.dtype.names)
    back = read_ply(tmp_path / "a.ply").cloud
    np.testing.assert_allclose(back.opacities, [0, 1, 0.5], atol=1e-30)
    assert (back.scales < 1e-30).all()


def test_written_file_as_a_second_reader_sees_it(tmp_path):
    cloud = random_cloud(10000, 3)  # more than one block
    write_ply(tmp_path / "a.ply", cloud)
    vertex = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"] + [f"f_rest_{i}" for i in range(45)]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert [p.name for p in vertex.properties] == names and len(names) == 62
    np.testing.assert_array_equal(vertex["f_rest_17"], cloud.sh[:, 3, 1])  # green starts at 15
    np.testing.assert_array_equal(vertex["f_dc_2"], cloud.sh[:, 0, 2])
    np.testing.assert_array_equal(vertex["nx"], 0)
    np.testing.assert_allclose(1 / (1 + np.exp(-vertex["opacity"].astype(float))), cloud.opacities, atol=1e-6)
    np.testing.assert_allclose(np.exp(vertex["scale_1"]), cloud.scales[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(vertex["rot_0"], cloud.quats[:, 0])
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.parametrize(("text", "order"), [(False, "<"), (False, ">"), (True, "=")])
@pytest.mark.parametrize("rest", [3 * (k - 1) for k in SH_COEFFICIENTS])
def test_every_encoding_any_property_order(tmp_path, text, order, rest):
    table = raw_table(9000 if not text else 30, rest)
    cloud = read_ply(save(tmp_path / "a.ply", table, text, order)).cloud
    k = rest // 3 + 1
    np.testing.assert_allclose(cloud.means[:, 1], table["y"], rtol=1e-5)
    np.testing.assert_allclose(cloud.scales[:, 2], np.exp(table["scale_2"]), rtol=1e-5)
    np.testing.assert_allclose(cloud.opacities, 1 / (1 + np.exp(-table["opacity"])), rtol=1e-5)
    quats = np.stack([table[f"rot_{i}"] for i in range(4)], 1)
    np.testing.assert_allclose(cloud.quats, quats / np.linalg.norm(quats, axis=1, keepdims=True), atol=1e-5)
    assert cloud.sh.shape[1] == k
    for channel in range(3):
        np.testing.assert_allclose(cloud.sh[:, 0, channel], table[f"f_dc_{channel}"], rtol=1e-5)
        for i in range(k - 1):
            np.testing.assert_allclose(cloud.sh[:, 1 + i, channel], table[f"f_rest_{channel * (k - 1) + i}"], rtol=1e-5)


def test_doubles_other_elements_and_windows_line_ends(tmp_path):
    table = raw_table(5, dtype="f8")
    camera = np.zeros(2, [("a", "u1"), ("b", "f8")])
    elements = [plyfile.PlyElement.describe(camera, "camera"), plyfile.PlyElement.describe(table, "vertex")]
    plyfile.PlyData(elements, byte_order="<").write(tmp_path / "a.ply")
    expected = read_ply(tmp_path / "a.ply").cloud
    np.testing.assert_allclose(expected.means[:, 0], table["x"], rtol=1e-6)
    head, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    (tmp_path / "b.ply").write_bytes((head + b"end_header\n").replace(b"\n", b"\r\n") + body)
    assert_same(read_ply(tmp_path / "b.ply").cloud, expected)


def test_rows_that_are_not_finite_are_left_out_and_counted(tmp_path):
    table = raw_table(10, 9)
    table["x"][2], table["f_rest_3"][4], table["rot_1"][5], table["scale_0"][7] = np.nan, np.inf, np.nan, 500
    loaded = read_ply(save(tmp_path / "a.ply", table))
    np.testing.assert_array_equal(np.flatnonzero(~loaded.kept), [2, 4, 5, 7])
    np.testing.assert_array_equal(loaded.cloud.means[:, 1], table["y"][loaded.kept])
    assert len(loaded.warnings) == 1 and "4 of 10" in loaded.warnings[0]


def test_zero_quaternions_become_the_identity(tmp_path):
    table = raw_table(4)
    for i in range(4):
        table[f"rot_{i}"][1] = 0
    loaded = read_ply(save(tmp_path / "a.ply", table))
    np.testing.assert_array_equal(loaded.cloud.quats[1], [1, 0, 0, 0])
    assert loaded.kept is None and "1 Gaussians had an invalid rotation" in loaded.warnings[0]


def drop(table: np.ndarray, *names: str) -> np.ndarray:
    keep = [n for n in table.dtype.names if n not in names]
    out = np.zeros(len(table), [(n, "f4") for n in keep])
    for name in keep:
        out[name] = table[name]
    return out


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["opacity"], "lacks opacity"),
        (["rot_2"], "lacks rot_2"),
        (["scale_0", "scale_1", "scale_2"], "lacks scale_0, scale_1, scale_2"),
        (["f_dc_1"], "lacks f_dc_1"),
        (FLOATS[3:], "mesh or a plain point cloud"),
    ],
)
def test_missing_properties_are_named(tmp_path, names, message):
    path = save(tmp_path / "bad.ply", drop(raw_table(3), *names))
    with pytest.raises(UserError, match=message) as error:
        read_ply(path)
    assert "bad.ply" in str(error.value)


def test_mesh_is_told_apart(tmp_path):
    vertex = np.zeros(3, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    face = np.empty(1, [("vertex_indices", "i4", (3,))])
    elements = [plyfile.PlyElement.describe(vertex, "vertex"), plyfile.PlyElement.describe(face, "face")]
    plyfile.PlyData(elements).write(tmp_path / "mesh.ply")
    with pytest.raises(UserError, match="not a Gaussian splat: it is a mesh"):
        read_ply(tmp_path / "mesh.ply")


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("part", [0.99, 0.6])
def test_truncated(tmp_path, text, part):
    path = save(tmp_path / "a.ply", raw_table(200), text, "<")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match="damaged or cut off"):
        read_ply(path)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 470))
def test_a_file_cut_anywhere_is_refused(tmp_path_factory, cut):
    path = save(tmp_path_factory.mktemp("ply") / "a.ply", raw_table(3))
    data = path.read_bytes()
    path.write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(UserError):
        read_ply(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not start with 'ply'"),
        (b"PK\x03\x04", "does not start with 'ply'"),
        (b"ply\nformat ascii 1.0\n", "has no end"),
        (b"ply\nformat weird 1.0\nend_header\n", "format weird"),
        (b"ply\nelement vertex 3\nend_header\n", "names no format"),
        (b"ply\nformat ascii 1.0\nend_header\n", "no vertices"),
        (b"ply\nformat ascii 1.0\nelement vertex -2\nend_header\n", "element vertex -2"),
        (b"ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "element vertex many"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quad x\nend_header\n", "property quad x"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n", "have list properties"),
    ],
)
def test_broken_headers(tmp_path, content, message):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_ply(tmp_path / "a.ply")


def test_no_gaussians_huge_count_odd_rest_and_missing_file(tmp_path):
    with pytest.raises(UserError, match="has no Gaussians"):
        read_ply(save(tmp_path / "empty.ply", raw_table(0)))
    path = save(tmp_path / "huge.ply", raw_table(3))
    path.write_bytes(path.read_bytes().replace(b"vertex 3", b"vertex 99999999999999"))
    with pytest.raises(UserError, match="only 3 exist"):
        read_ply(path)
    with pytest.raises(UserError, match="12 f_rest"):
        read_ply(save(tmp_path / "rest.ply", raw_table(3, 12)))
    with pytest.raises(UserError, match="cannot be read"):
        read_ply(tmp_path / "not_there.ply")
    with pytest.raises(UserError, match="cannot be read"):
        read_ply(tmp_path)
    table = raw_table(2)
    table["x"] = np.nan
    with pytest.raises(UserError, match="no usable Gaussians"):
        read_ply(save(tmp_path / "nan.ply", table))


def test_a_failed_write_leaves_the_old_file(tmp_path):
    cloud = random_cloud(3, 0)
    write_ply(tmp_path / "a.ply", cloud)
    before = (tmp_path / "a.ply").read_bytes()
    with pytest.raises(UserError, match="nothing to write"):
        write_ply(tmp_path / "a.ply", cloud.take(np.zeros(3, bool)))
    with pytest.raises(UserError, match="cannot be written"):
        write_ply(tmp_path / "no_folder" / "a.ply", cloud)
    assert (tmp_path / "a.ply").read_bytes() == before


@pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "count", "degree"),
    [
        ("playbot_sh2.ply", 31000, 2),
        ("composite_apart/scene.ply", 121854, 0),
        ("composite_touching/scene.ply", 161854, 0),
        ("formats/test-splat.3-points-from-train.ply", 3, 3),
    ],
)
def test_real_files(name, count, degree):
    loaded = read_ply(SPLATS / name)
    assert (len(loaded.cloud), loaded.cloud.sh_degree, loaded.warnings) == (count, degree, ())
    vertex = plyfile.PlyData.read(SPLATS / name)["vertex"]
    np.testing.assert_array_equal(loaded.cloud.means[:, 2], vertex["z"])
    if degree:
        last = vertex[f"f_rest_{3 * ((degree + 1) ** 2 - 1) - 1}"]
        np.testing.assert_array_equal(loaded.cloud.sh[:, -1, 2], last)


@pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")
def test_compressed_ply_is_named():
    with pytest.raises(UserError, match="cannot be read: it is a compressed PLY"):
        read_ply(SPLATS / "guitar.compressed.ply")
