"""`convert` and `info`, as somebody without Blender calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from blender_saga.gaussians import files
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import read_splat, write_splat
from blender_saga.gaussians.ply import read_ply, write_ply
from blender_saga.gaussians.transforms import transform_cloud
from saga_backend.cli import main
from tests.paths import DATA, ROOT

SPLATS = DATA / "splats"


def cloud_of(n: int, degree: int) -> GaussianCloud:
    random = np.random.default_rng(n)
    quats = random.normal(size=(n, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales, sh = np.exp(random.uniform(-6, 0, (n, 3))), random.uniform(-1, 1, (n, (degree + 1) ** 2, 3))
    return GaussianCloud(random.normal(size=(n, 3)), quats, scales, random.uniform(0, 1, n), sh)


def run(*words: object) -> int:
    return main.main([str(word) for word in words])


@pytest.mark.parametrize("ending", [".ply", ".compressed.ply", ".spz", ".splat", ".glb"])
def test_convert_to_every_format_and_info(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(50, 2))
    target = tmp_path / f"b{ending}"
    assert run("convert", tmp_path / "a.ply", target) == 0
    assert run("info", target, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts) == {"format", "version", "count", "sh_degree", "bounds", "warnings"}
    assert (facts["count"], facts["sh_degree"]) == (50, 0 if ending == ".splat" else 2)
    means = cloud_of(50, 2).means
    np.testing.assert_allclose(facts["bounds"], [means.min(0), means.max(0)], atol=2e-3)


def test_ply_to_ply_keeps_every_byte_of_its_vertices(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(50, 3), {"confidence": np.linspace(0, 1, 50)})
    assert run("convert", tmp_path / "a.ply", tmp_path / "b.ply") == 0
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()
    assert run("convert", tmp_path / "b.ply", tmp_path / "b.ply") == 0  # onto itself
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_matrix_and_degree(tmp_path: Path) -> None:
    cloud = cloud_of(40, 3)
    write_ply(tmp_path / "a.ply", cloud, {"mark": np.arange(40, dtype=np.int32)})
    matrix = np.array([[0, -2, 0.1, 1], [1, 0, 0, 2], [0, 0.3, -1, 3], [0, 0, 0, 1]])
    (tmp_path / "m.json").write_text(json.dumps(matrix.tolist()))
    words = ("--matrix", tmp_path / "m.json", "--sh-degree", 2)
    assert run("convert", tmp_path / "a.ply", tmp_path / "b.ply", *words) == 0
    loaded, wanted = read_ply(tmp_path / "b.ply"), transform_cloud(read_ply(tmp_path / "a.ply").cloud, matrix)
    np.testing.assert_allclose(loaded.cloud.means, wanted.means, atol=1e-6)
    np.testing.assert_allclose(loaded.cloud.sh, wanted.sh[:, :9], atol=1e-6)
    np.testing.assert_array_equal(loaded.extras["mark"], np.arange(40))


def test_what_is_lost_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(5, 1))
    with caplog.at_level("WARNING"):
        assert run("convert", tmp_path / "a.ply", tmp_path / "b.splat") == 0
    assert "no spherical harmonics" in caplog.text


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ("[[1, 0], [0, 1]]", "its shape is"),
        ("hello", "it is no JSON"),
        ("[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,1,1]]", "its last row"),
        ("[[1,0,0,0],[0,0,0,0],[0,0,1,0],[0,0,0,1]]", "its scale is zero"),
        ('{"a": 1}', "it is no JSON of numbers"),
    ],
)
def test_bad_matrices_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], matrix: str, reason: str) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(5, 0))
    (tmp_path / "m.json").write_text(matrix)
    assert run("convert", tmp_path / "a.ply", tmp_path / "b.ply", "--matrix", tmp_path / "m.json") == 2
    assert reason in capsys.readouterr().err and not (tmp_path / "b.ply").exists()


def test_bad_files_and_targets_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_splat(tmp_path / "a.spz", cloud_of(5, 0))
    (tmp_path / "bad.spz").write_bytes((tmp_path / "a.spz").read_bytes()[:30])
    for words, reason in (
        (("info", tmp_path / "bad.spz"), "bad.spz cannot be read"),
        (("info", tmp_path / "none.spz"), "No such file"),
        (("convert", tmp_path / "a.spz", tmp_path / "b.sog"), "only supported for reading"),
        (("convert", tmp_path / "a.spz", tmp_path / "none" / "b.ply"), "its folder does not exist"),
    ):
        assert run(*words) == 2
        assert reason in capsys.readouterr().err


@pytest.mark.skipif(not SPLATS.exists(), reason="the shared test data is not beside this checkout")
def test_a_real_sog_as_a_process(tmp_path: Path) -> None:
    paths = [str(ROOT), str(ROOT / "backend")]
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path[:0] = {paths!r}; from saga_backend.cli.main import main; sys.exit(main())",
    ]
    source, target = SPLATS / "playbot_sh2.sog", tmp_path / "playbot.spz"
    result = subprocess.run(
        [*command, "convert", str(source), str(target)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    back, real = read_splat(target).cloud, read_splat(source).cloud
    assert np.abs(back.means - real.means).max() < 2**-16


@pytest.mark.skipif(files.zstd() is None, reason="this Python has no zstd")
def test_spz_4_and_invalid_numbers_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = cloud_of(9, 1)
    cloud.means[4] = np.nan
    write_ply(tmp_path / "a.ply", cloud)
    assert run("convert", tmp_path / "a.ply", tmp_path / "b.spz", "--spz-version", 4) == 0
    assert run("info", tmp_path / "b.spz", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["version"], facts["count"]) == ("4", 8)
    assert run("convert", tmp_path / "a.ply", tmp_path / "c.ply", "--keep-invalid") == 0
    assert run("info", tmp_path / "c.ply", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["count"] == 9 and "1 of 9" in facts["warnings"][0]
    assert np.isfinite(facts["bounds"]).all()
