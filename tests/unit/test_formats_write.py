"""What is written is read again: exactly where a format can, within its stated rounding elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blender_saga.errors import UserError
from blender_saga.gaussians import files
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats import gltf
from blender_saga.gaussians.formats.compressed_ply_write import z_order
from blender_saga.gaussians.formats.registry import WriteOptions, format_for, identify, read_splat, write_splat
from blender_saga.gaussians.ply import read_ply, write_ply, write_rows
from tests.helpers.format_clouds import SPLATS, assert_close, assert_equal, random_cloud
from tests.paths import ROOT

CLOUDS = st.builds(
    random_cloud,
    st.integers(1, 700),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 1.0, 100.0]),
)


def through(cloud: GaussianCloud, name: str, options: WriteOptions | None = None) -> GaussianCloud:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        assert write_splat(path, cloud, options) == ()
        assert identify(path) is format_for(path)
        loaded = read_splat(path)
    assert loaded.warnings == ()
    return loaded.cloud


@settings(max_examples=15)
@given(CLOUDS)
def test_gltf_is_exact(cloud: GaussianCloud) -> None:
    back = through(cloud, "a.glb")
    assert_close(back, cloud, means=0, logs=0, angle=1e-4, opacities=0, dc=0, rest=0)


@settings(max_examples=15)
@given(CLOUDS)
def test_splat_is_within_its_bytes(cloud: GaussianCloud) -> None:
    cloud = cloud.with_degree(0)
    back = through(cloud, "a.splat")
    assert_close(back, cloud, means=0, logs=0, angle=1.2, opacities=0.5001 / 255, dc=0.5001 / 255 / 0.282)


@settings(max_examples=15)
@given(CLOUDS, st.sampled_from([3, 4] if files.zstd() else [3]))
def test_spz_is_within_its_steps(cloud: GaussianCloud, version: int) -> None:
    back = through(cloud, "a.spz", WriteOptions(spz_version=version))
    bits = min(16, int(np.log2((2**23 - 1) / np.abs(cloud.means).max())))
    largest = float(np.abs(cloud.means).max())
    bounds = {"means": 2.0 ** (-bits - 1) + largest * 1e-7, "logs": 1 / 32 + 1e-5, "angle": 0.25}
    assert_close(back, cloud, **bounds, opacities=0.5001 / 255, dc=0.0131, rest=0.5001 / 128)


@settings(max_examples=5)
@given(st.integers(0, 99))
def test_spz_holds_degree_4(seed: int) -> None:
    cloud = random_cloud(20, 4, seed)
    assert_close(through(cloud, "a.spz"), cloud, rest=0.5001 / 128)


@settings(max_examples=15)
@given(CLOUDS)
def test_compressed_ply_is_within_the_steps_of_its_chunks(cloud: GaussianCloud) -> None:
    back = through(cloud, "a.compressed.ply")
    cloud = cloud.take(z_order(cloud.means))
    logs, colors = np.log(cloud.scales), 0.282095 * cloud.sh[:, 0]
    rounded = 2 * np.finfo(np.float32).eps  # of a scale, relative: its logarithm is off by that, however small it is
    for start in range(0, len(cloud), 256):
        part = slice(start, start + 256)
        for axis, steps in enumerate((2047, 1023, 2047)):
            for got, wanted, least in ((back.means, cloud.means, 0.0), (np.log(back.scales), logs, rounded)):
                a, b = got[part, axis].astype(np.float64), wanted[part, axis].astype(np.float64)
                assert np.abs(a - b).max() <= 0.5001 / steps * np.ptp(b) + 2e-6 * np.abs(b).max() + least
        wanted = colors[part].astype(np.float64)
        bound = 0.5001 / 255 * np.ptp(wanted, axis=0) + 1e-6
        assert (np.abs(0.282095 * back.sh[part, 0] - wanted).max(0) <= bound).all()
    assert_close(back, cloud, angle=0.25, opacities=0.5001 / 255, rest=8 / 256)


def test_further_properties_that_go_lost_are_named(tmp_path: Path) -> None:
    cloud, options = random_cloud(10, 0), WriteOptions({"label": np.arange(10), "nx": np.ones(10, np.float32)})
    for name in ("a.compressed.ply", "a.spz", "a.splat", "a.glb"):
        assert "left out: label, nx. PLY" in " ".join(write_splat(tmp_path / name, cloud, options))
    assert write_splat(tmp_path / "a.ply", cloud, options) == ()
    assert set(read_ply(tmp_path / "a.ply").extras) == {"label", "nx"}


def test_one_nan_does_not_spoil_the_others(tmp_path: Path) -> None:
    """Formats that pack share bounds among Gaussians; those that are not finite stay out of them."""
    cloud = random_cloud(300, 1)
    means, sh = cloud.means.copy(), cloud.sh.copy()
    means[7, 1], sh[100, 2, 0] = np.nan, np.inf
    broken, left = replace(cloud, means=means, sh=sh), np.delete(np.arange(300), [7, 100])
    for name in ("a.compressed.ply", "a.spz", "a.splat", "a.glb"):
        assert "2 Gaussians were left out" in " ".join(write_splat(tmp_path / name, broken))
        write_splat(tmp_path / f"clean.{name}", cloud.take(left))
        assert_equal(read_splat(tmp_path / name).cloud, read_splat(tmp_path / f"clean.{name}").cloud)
    assert write_splat(tmp_path / "a.ply", broken) == ()
    assert read_splat(tmp_path / "a.ply").file_count == 300
    with pytest.raises(UserError, match="no Gaussian has finite values"):
        write_splat(tmp_path / "b.spz", broken.take(np.array([7])))


def test_z_order_keeps_neighbors_together(tmp_path: Path) -> None:
    cloud = random_cloud(20_000, 0)
    order = z_order(cloud.means)
    np.testing.assert_array_equal(np.sort(order), np.arange(20_000))
    chunks = cloud.means[order][:19_968].reshape(-1, 256, 3)
    assert np.median(np.ptp(chunks, axis=1)) < 0.3 * np.ptp(cloud.means)  # a chunk of a shuffled cloud spans it all


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    cloud = random_cloud(10, 4)
    loud = GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh * 9)
    assert "no spherical harmonics" in " ".join(write_splat(tmp_path / "a.splat", cloud))
    assert "degree 4" in " ".join(write_splat(tmp_path / "a.glb", cloud))
    assert "degree 4" in " ".join(write_splat(tmp_path / "a.compressed.ply", cloud))
    assert "clipped" in " ".join(write_splat(tmp_path / "b.compressed.ply", loud))
    said = " ".join(write_splat(tmp_path / "b.spz", loud))
    assert "harmonics from -1 to 1" in said and "base colors from -0.44 to 1.44" in said
    assert "base colors from 0 to 1" in " ".join(write_splat(tmp_path / "b.splat", loud.with_degree(0)))
    huge = GaussianCloud(cloud.means, cloud.quats, cloud.scales * 1e6, cloud.opacities, cloud.sh)
    assert "scales" in " ".join(write_splat(tmp_path / "c.spz", huge))
    assert write_splat(tmp_path / "d.ply", loud) == ()


# --- INRIA PLY: byte for byte, and what else stands in it -----------------------------------------------------------


@pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")
@pytest.mark.parametrize(
    "name", ["playbot_sh2.ply", "composite_apart/scene.ply", "formats/test-splat.3-points-from-train.ply"]
)
def test_rows_go_out_as_they_came_in(tmp_path: Path, name: str) -> None:
    loaded = read_ply(SPLATS / name)
    assert loaded.rows is not None
    write_rows(tmp_path / "out.ply", loaded.rows)
    before, after = ((f.read_bytes()).partition(b"end_header\n")[2] for f in (SPLATS / name, tmp_path / "out.ply"))
    assert before == after


def test_the_text_of_an_ascii_file_goes_out_as_it_came_in(tmp_path: Path) -> None:
    plyfile = pytest.importorskip("plyfile", reason="plyfile writes the odd files")
    write_ply(tmp_path / "plain.ply", random_cloud(20, 1))
    vertex = plyfile.PlyElement.describe(plyfile.PlyData.read(tmp_path / "plain.ply")["vertex"].data, "vertex")
    camera = plyfile.PlyElement.describe(np.zeros(2, [("a", "u1"), ("b", "f8")]), "camera")
    plyfile.PlyData([camera, vertex], text=True).write(tmp_path / "a.ply")
    rows = read_ply(tmp_path / "a.ply").rows
    write_rows(tmp_path / "b.ply", rows, tmp_path / "a.ply")
    before, after = ((tmp_path / f).read_bytes().partition(b"end_header\n")[2] for f in ("a.ply", "b.ply"))
    assert before == b"0 0\n0 0\n" + after
    np.testing.assert_array_equal(read_ply(tmp_path / "b.ply").rows, rows)
    write_rows(tmp_path / "c.ply", rows[::2], tmp_path / "a.ply")  # not all of them: as binary
    np.testing.assert_array_equal(read_ply(tmp_path / "c.ply").rows, rows[::2])


@pytest.mark.parametrize("order", ["<", ">"])
def test_extra_properties_are_read_and_kept(tmp_path: Path, order: str) -> None:
    plyfile = pytest.importorskip("plyfile", reason="plyfile writes the odd files")
    cloud = random_cloud(20, 1)
    write_ply(tmp_path / "plain.ply", cloud)
    plain = plyfile.PlyData.read(tmp_path / "plain.ply")["vertex"].data
    extras = [("confidence", "f4"), ("label", "i4"), ("age", "u1"), ("weight", "f8"), ("year", "u2")]
    table = np.zeros(20, [extras[0], *plain.dtype.descr, *extras[1:]])
    for name in plain.dtype.names:
        table[name] = plain[name]
    for index, (name, _) in enumerate(extras):
        table[name] = np.arange(20) * (index + 1)
    table["ny"] = 0.5
    plyfile.PlyData([plyfile.PlyElement.describe(table, "vertex")], byte_order=order).write(tmp_path / "a.ply")

    loaded = read_ply(tmp_path / "a.ply")
    assert_equal(loaded.cloud, read_ply(tmp_path / "plain.ply").cloud)
    assert set(loaded.extras) == {"ny", *(name for name, _ in extras)}
    write_ply(tmp_path / "b.ply", loaded.cloud, loaded.extras)
    again = plyfile.PlyData.read(tmp_path / "b.ply")["vertex"].data
    for name, kind in [("ny", "f4"), *extras]:
        assert again.dtype[name] == np.dtype(kind)
        np.testing.assert_array_equal(again[name], table[name])
    write_rows(tmp_path / "c.ply", loaded.rows)
    before, after = ((tmp_path / f).read_bytes().partition(b"end_header\n")[2] for f in ("a.ply", "c.ply"))
    assert before == after


def test_opacities_of_0_and_1_stay_finite(tmp_path: Path) -> None:
    cloud = random_cloud(4, 0)
    cloud = GaussianCloud(cloud.means, cloud.quats, cloud.scales, np.array([0, 1, 0.5, 1e-9]), cloud.sh)
    for name in ("a.ply", "a.glb", "a.spz", "a.splat", "a.compressed.ply"):
        write_splat(tmp_path / name, cloud)
        back = np.sort(read_splat(tmp_path / name).cloud.opacities)
        np.testing.assert_allclose(back, np.sort(cloud.opacities), atol=0.5001 / 255)
    assert read_ply(tmp_path / "a.ply").cloud.opacities[1] == 1


# --- targets -------------------------------------------------------------------------------------------------------


def test_an_older_file_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, random_cloud(5, 0))
    before = path.read_bytes()
    real = Path.open

    class Full:
        def __init__(self, stream: object) -> None:
            self._stream = stream

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            self._stream.close()

    def full(self: Path, mode: str = "r", *more: object) -> object:
        return Full(real(self, mode, *more)) if set(mode) & set("wx") else real(self, mode, *more)

    monkeypatch.setattr(Path, "open", full)
    for name in ("a.ply", "b.spz", "b.glb", "b.splat", "b.compressed.ply"):
        with pytest.raises(UserError, match="No space left on device"):
            write_splat(tmp_path / name, random_cloud(50, 1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """Somebody who may write to the folder has laid a link under the name that is written first."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / f"a.ply.{os.getpid()}.part").symlink_to(victim)
    write_ply(tmp_path / "a.ply", random_cloud(5, 0))
    assert victim.read_bytes() == b"mine" and not (tmp_path / "a.ply").is_symlink()
    assert len(read_ply(tmp_path / "a.ply").cloud) == 5


WRITE_UNDER_A_LIMIT = """
import resource, signal, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from tests.helpers.format_clouds import random_cloud
from blender_saga.gaussians.formats.registry import write_splat
from blender_saga.errors import UserError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name in sys.argv[4:]:
    try:
        write_splat(Path(sys.argv[3], name), random_cloud(20_000, 1))
    except UserError as error:
        print(name, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_an_older_file_survives_when_the_system_stops_writing_half_way(tmp_path: Path) -> None:
    """The operating system itself refuses after 100 kB, as a full disk does."""
    names = ["a.ply", "a.compressed.ply", "a.spz", "a.glb", "a.splat"]
    before = {}
    for name in names:
        write_splat(tmp_path / name, random_cloud(5, 0))
        before[name] = (tmp_path / name).read_bytes()
    paths = [str(ROOT), str(ROOT / "backend")]
    command = [sys.executable, "-c", WRITE_UNDER_A_LIMIT, *paths, str(tmp_path), *names]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split()[0] for line in told] == names
    assert all("cannot be written" in line and "too large" in line for line in told)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere/a.ply", "No such file or directory"),
        ("a.sog", "only supported for reading"),
        ("a.ksplat", "only supported for reading"),
        ("a.obj", "its extension is not supported"),
        ("a.gltf", "only binary glTF can be written"),
    ],
)
def test_targets_that_cannot_be(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        write_splat(tmp_path / name, random_cloud(2, 0))
    assert not list(tmp_path.iterdir())


def test_an_empty_cloud_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to write"):
        write_splat(tmp_path / "a.spz", random_cloud(1, 0).take(np.zeros(1, bool)))


def test_gltf_says_when_a_scene_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gltf, "_MOST_BYTES", 10_000)  # in place of 4 GiB
    write_splat(tmp_path / "a.glb", random_cloud(100, 0))
    with pytest.raises(UserError, match=r"a \.glb is limited to 4 GiB"):
        write_splat(tmp_path / "b.glb", random_cloud(200, 0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.glb"]


def test_spz_says_when_a_scene_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="SPZ is limited to"):
        write_splat(tmp_path / "a.spz", random_cloud(5, 0, size=1e8))


def test_a_splat_whose_first_coordinate_begins_like_json():
    """Some numbers' first byte is that of an opening brace."""
    cloud = random_cloud(50, 0)
    means = cloud.means.copy()
    means[:, 0] = np.frombuffer(b"{\x00\x80?", "<f4")[0]
    assert len(through(replace(cloud, means=means), "a.splat")) == len(cloud)
