"""Real files of every format: what is in them, and that formats of one model agree."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from blender_saga.gaussians.formats.registry import identify, read_splat
from tests.helpers.format_clouds import SPLATS, assert_close

pytestmark = pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")

POINTS = "formats/test-splat.3-points-from-train"
FILES = {  # file: format, version, count, degree
    "guitar.compressed.ply": ("compressed-ply", "1.0", 90_854, 0),
    "playbot_sh2.ply": ("ply", "1.0", 31_000, 2),
    "playbot.splat": ("splat", "", 31_000, 0),
    "playbot_sh2.sog": ("sog", "2", 31_000, 2),
    "composite_apart/scene.ply": ("ply", "1.0", 121_854, 0),
    "composite_touching/scene.ply": ("ply", "1.0", 161_854, 0),
    f"{POINTS}.ply": ("ply", "1.0", 3, 3),
    f"{POINTS}.splat": ("splat", "", 3, 0),
    f"{POINTS}.spz": ("spz", "3", 3, 3),
    "formats/minimal.splat": ("splat", "", 4, 0),
    "formats/minimal.ksplat": ("ksplat", "0.1", 4, 0),
    "formats/minimal-v2.spz": ("spz", "2", 4, 0),
    "formats/minimal-v3.spz": ("spz", "3", 4, 0),
    "formats/khr_conformance_matrix.glb": ("gltf", "2.0", 15, 3),
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_is_read_with_its_count_and_degree(name: str) -> None:
    loaded = read_splat(SPLATS / name)
    assert (loaded.format, loaded.version, loaded.file_count, loaded.cloud.sh_degree) == FILES[name]
    assert len(loaded.cloud) == loaded.file_count and loaded.kept is None
    assert np.isfinite(loaded.cloud.sh).all() and (loaded.cloud.scales > 0).all()


@pytest.mark.parametrize("name", FILES)
def test_the_name_of_a_file_does_not_count(tmp_path: Path, name: str) -> None:
    shutil.copyfile(SPLATS / name, tmp_path / "something.bin")
    assert identify(tmp_path / "something.bin").name == FILES[name][0]


def test_playbot_is_the_same_in_three_formats() -> None:
    ply, sog, splat = (read_splat(SPLATS / f"playbot{end}").cloud for end in ("_sh2.ply", "_sh2.sog", ".splat"))
    # The PLY was made from the SOG, so only the logarithm and its inverse stand between them.
    assert_close(ply, sog, means=0, logs=1e-6, angle=0.1, opacities=1e-6, dc=0, rest=0)
    visible = np.abs(ply.sh[:, 0]) < 1.77  # beyond that, bytes of a color end
    assert_close(ply.with_degree(0), splat, means=0, logs=1e-6, angle=1.0, opacities=1e-6)
    np.testing.assert_allclose(ply.sh[:, 0][visible], splat.sh[:, 0][visible], atol=0.5 / 255 / 0.282)


def test_three_points_are_the_same_in_three_formats() -> None:
    ply, spz, splat = (read_splat(SPLATS / f"{POINTS}{end}").cloud for end in (".ply", ".spz", ".splat"))
    # SPZ: 12 bits behind the point, scales in 16ths, 5 and 4 bits of harmonics; its y and z point the other way.
    assert_close(ply, spz, means=2**-13, logs=1 / 32, angle=0.3, opacities=0.5 / 255, dc=0.014, rest=0.07)
    assert_close(ply.with_degree(0), splat, means=0, logs=1e-6, angle=2, opacities=1 / 255, dc=1 / 255 / 0.282)


def test_the_minimal_files_hold_the_same_four_points() -> None:
    corners = [[-1, 0, -1], [0, 0, -1], [-1, 0, 0], [0, 0, 0]]
    for name in ("minimal.splat", "minimal.ksplat", "minimal-v3.spz"):
        cloud = read_splat(SPLATS / "formats" / name).cloud
        np.testing.assert_array_equal(cloud.means, corners)
        np.testing.assert_allclose(cloud.scales, 0.1, rtol=0.02)
        np.testing.assert_allclose(cloud.opacities, 0.9, atol=0.003)
    # The older one has z the other way round in its bytes.
    np.testing.assert_array_equal(
        read_splat(SPLATS / "formats/minimal-v2.spz").cloud.means, np.abs(corners) * [-1, 0, 1]
    )


def test_gltf_accessors_of_every_kind_give_the_same_numbers() -> None:
    cloud = read_splat(SPLATS / "formats/khr_conformance_matrix.glb").cloud
    np.testing.assert_array_equal(cloud.means, np.tile([-1, -2, 3], (15, 1)))  # 1, 2, 3 with x left and y up
    np.testing.assert_allclose(np.log(cloud.scales[4:8]), [[1, -2, 3], [1, 0, -1], [2, -3, 4], [1, 0, -1]], atol=0.01)
    np.testing.assert_allclose(cloud.opacities[8:11], [0.75, 0.25, 0.25], atol=0.005)
    filled = [int(np.abs(cloud.sh[i]).any(axis=1).sum()) for i in (11, 12, 13, 14)]
    assert filled == [1, 4, 9, 16]


def test_linear_colors_are_told() -> None:
    assert "linear" in " ".join(read_splat(SPLATS / "formats/khr_conformance_matrix.glb").warnings)


def test_a_sog_is_read_from_its_zip_its_folder_and_its_meta_file(tmp_path: Path) -> None:
    bundle = SPLATS / "playbot_sh2.sog"
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "flat")
        with zipfile.ZipFile(tmp_path / "nested.zip", "w", zipfile.ZIP_DEFLATED) as nested:
            for name in archive.namelist():
                nested.writestr(f"scene/{name}", archive.read(name))
    shutil.copyfile(tmp_path / "flat/meta.json", tmp_path / "flat/renamed.json")
    wanted = read_splat(bundle).cloud.fingerprint()
    for place in ("flat", "flat/meta.json", "flat/renamed.json", "nested.zip"):
        assert read_splat(tmp_path / place).cloud.fingerprint() == wanted
