"""PlayCanvas's converter as an outside referee: it reads what we write, we read what it writes, and both move alike.

It is installed with npm into a temporary folder, once a run; where that is not possible, these tests say so and skip.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blender_saga.gaussians import files
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import WriteOptions, read_splat, write_splat
from blender_saga.gaussians.transforms import transform_cloud
from tests.helpers.format_clouds import SPLATS, assert_close, random_cloud, same_shapes
from tests.unit.test_formats_layouts import ksplat_bytes, ksplat_cloud

PACKAGE = "@playcanvas/splat-transform@2.7.1"
EXACT = {"means": 1e-6, "logs": 1e-6, "angle": 1e-3, "opacities": 2e-6, "dc": 1e-6, "rest": 1e-6}
"""What two readers of one file may differ by: rounding of float32 alone."""

Referee = Callable[..., Path]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converter's start script."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("the referee splat-transform needs node and npm, and they are not here")
    folder = tmp_path_factory.mktemp("referee")
    command = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", PACKAGE]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {PACKAGE} within 120 s")
    if result.returncode != 0:
        pytest.skip(f"npm could not install {PACKAGE}: {result.stderr.strip()[-200:]}")
    return folder / "node_modules/@playcanvas/splat-transform/bin/cli.mjs"


@pytest.fixture
def referee(installed: Path, tmp_path: Path) -> Referee:
    """A function: from a file, through actions, to a file of the given name."""

    def convert(source: Path, name: str, *actions: str) -> Path:
        target = tmp_path / "referee" / name
        target.parent.mkdir(exist_ok=True, parents=True)
        before = [action for action in actions if action.startswith("--")]
        moves = [action for action in actions if not action.startswith("--")]
        command = ["node", str(installed), "-q", "-w", "-g", "cpu", *before, str(source), *moves, str(target)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0 and target.exists(), result.stderr
        return target

    return convert


def assert_agree(referee: Referee, path: Path, **looser: float) -> None:
    """Both read the same Gaussians out of a file."""
    assert_close(read_splat(path).cloud, read_splat(referee(path, "back.ply")).cloud, **(EXACT | looser))


@pytest.mark.parametrize("name", ["a.ply", "a.compressed.ply", "a.spz"])
@pytest.mark.parametrize("degree", [0, 3])
def test_it_reads_what_we_write(referee: Referee, tmp_path: Path, name: str, degree: int) -> None:
    write_splat(tmp_path / name, random_cloud(1000, degree))
    assert_agree(referee, tmp_path / name)


@pytest.mark.skipif(files.zstd() is None, reason="this Python has no zstd")
def test_it_reads_our_spz_4(referee: Referee, tmp_path: Path) -> None:
    write_splat(tmp_path / "a.spz", random_cloud(1000, 2), WriteOptions(spz_version=4))
    assert_agree(referee, tmp_path / "a.spz")


def test_it_reads_our_splat(referee: Referee, tmp_path: Path) -> None:
    write_splat(tmp_path / "a.splat", random_cloud(1000, 0))
    # It takes 127.5 for the zero of a rotation's byte, and the format's own viewer takes 128.
    assert_agree(referee, tmp_path / "a.splat", angle=1.0)


@pytest.mark.parametrize("level", range(3))
@pytest.mark.parametrize("degree", [0, 2])
def test_it_reads_ksplat_as_we_do(referee: Referee, tmp_path: Path, level: int, degree: int) -> None:
    (tmp_path / "a.ksplat").write_bytes(ksplat_bytes(ksplat_cloud(degree), level))
    assert_agree(referee, tmp_path / "a.ksplat", angle=0.1 if level else 1e-3)  # it does not normalize


@pytest.mark.parametrize(
    ("name", "actions", "version"),
    [
        ("a.compressed.ply", (), "1.0"),
        ("a.spz", ("--spz-version=3",), "3"),
        ("a.spz", ("--spz-version=4",), "4"),
        ("a.sog", (), "2"),
        ("sog/meta.json", (), "2"),
    ],
)
def test_we_read_what_it_writes(
    referee: Referee, tmp_path: Path, name: str, actions: tuple[str, ...], version: str
) -> None:
    write_splat(tmp_path / "a.ply", random_cloud(1000, 3))
    theirs = referee(tmp_path / "a.ply", name, *actions)
    assert read_splat(theirs).version == version
    assert_agree(referee, theirs)


def test_we_read_its_glb(referee: Referee, tmp_path: Path) -> None:
    cloud = random_cloud(1000, 3)
    write_splat(tmp_path / "a.ply", cloud)
    loaded = read_splat(referee(tmp_path / "a.ply", "a.glb"))
    # Its quaternions have the axes turned on one side only, so the shapes are compared.
    assert_close(loaded.cloud, cloud, **(EXACT | {"angle": 180.001}))
    same_shapes(loaded.cloud, cloud, atol=1e-6)


@pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")
@pytest.mark.parametrize(
    "name", ["guitar.compressed.ply", "playbot_sh2.sog", "formats/minimal.ksplat", "formats/minimal-v2.spz"]
)
def test_real_files(referee: Referee, name: str) -> None:
    assert_agree(referee, SPLATS / name)


def moved(cloud: GaussianCloud, angles: tuple[float, ...], scale: float, shift: tuple[float, ...]) -> GaussianCloud:
    """What its actions mean: Euler angles about fixed axes, in its own axes, which are ours turned about z."""
    half_turn, matrix = np.diag([-1.0, -1, 1, 1]), np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return transform_cloud(cloud, half_turn @ matrix @ half_turn)


@pytest.mark.parametrize("seed", range(3))
def test_it_moves_turns_and_scales_as_our_bake_does(referee: Referee, tmp_path: Path, seed: int) -> None:
    random, cloud = np.random.default_rng(seed), random_cloud(1000, 3, seed)
    angles, shift = tuple(random.uniform(-180, 180, 3)), tuple(random.uniform(-3, 3, 3))
    scale = float(random.uniform(0.3, 3))
    write_splat(tmp_path / "a.ply", cloud)
    texts = [",".join(f"{value:.9f}" for value in values) for values in (angles, (scale,), shift)]
    actions = [word for pair in zip(("-r", "-s", "-t"), texts, strict=True) for word in pair]
    theirs = read_splat(referee(tmp_path / "a.ply", "b.ply", *actions)).cloud
    ours = moved(read_splat(tmp_path / "a.ply").cloud, angles, scale, shift)
    assert_close(ours, theirs, means=5e-6, logs=5e-6, angle=1e-3, opacities=2e-6, dc=1e-6, rest=2e-6)
