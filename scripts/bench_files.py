"""Benchmark rows for files without Blender: import and export of a PLY with SH of degree 3."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from plyfile import PlyData, PlyElement

from bench_measure import Case, Line, times
from bench_scene import bench_scene
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import read_ply, write_ply

_COEFFICIENTS = 16


def import_(case: Case) -> Iterator[Line]:
    """Read a file into a cloud, activations included."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scene.ply")
        write_ply(path, _with_sh(case.n))
        line = Line("import", replace(case, device="cpu"), times(lambda: read_ply(path), case.runs(7)))
        line.more["bytes"] = path.stat().st_size
        line.reference = times(lambda: _plain_read(path), case.runs(7))
        line.reference_is = "plyfile, columns stacked and activated"
        yield line


def export(case: Case) -> Iterator[Line]:
    """Write a cloud to a file."""
    cloud = _with_sh(case.n)
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder, "scene.ply"), Path(folder, "plain.ply")
        line = Line("export", replace(case, device="cpu"), times(lambda: write_ply(path, cloud), case.runs(7)))
        line.more["bytes"] = path.stat().st_size
        names = [p.name for p in PlyData.read(path)["vertex"].properties]
        line.reference = times(lambda: _plain_write(other, cloud, names), case.runs(7))
        line.reference_is = "plyfile, a structured array filled column by column"
        yield line


def _with_sh(count: int) -> GaussianCloud:
    cloud = bench_scene(count, 1).cloud
    sh = np.random.default_rng(0).standard_normal((count, _COEFFICIENTS, 3), dtype=np.float32) * np.float32(0.1)
    return GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, sh)


def _plain_read(path: Path) -> GaussianCloud:
    vertex = PlyData.read(path)["vertex"]

    def columns(*names: str) -> np.ndarray:
        return np.stack([vertex[name] for name in names], axis=1)

    quats = columns("rot_0", "rot_1", "rot_2", "rot_3")
    rest = columns(*(f"f_rest_{i}" for i in range(3 * (_COEFFICIENTS - 1)))).reshape(len(quats), 3, -1)
    sh = np.concatenate([columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None], rest.transpose(0, 2, 1)], axis=1)
    return GaussianCloud(
        columns("x", "y", "z"),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        np.exp(columns("scale_0", "scale_1", "scale_2")),
        1 / (1 + np.exp(-vertex["opacity"])),
        sh,
    )


def _plain_write(path: Path, cloud: GaussianCloud, names: list[str]) -> None:
    rows = np.zeros(len(cloud), [(name, "<f4") for name in names])
    rest = cloud.sh[:, 1:].transpose(0, 2, 1).reshape(len(cloud), -1)
    groups = {"f_dc_": cloud.sh[:, 0], "f_rest_": rest, "scale_": np.log(cloud.scales), "rot_": cloud.quats}
    for name in names:
        for start, values in groups.items():
            if name.startswith(start):
                rows[name] = values[:, int(name.removeprefix(start))]
    rows["x"], rows["y"], rows["z"] = cloud.means.T
    rows["opacity"] = np.log(cloud.opacities / (1 - cloud.opacities))
    PlyData([PlyElement.describe(rows, "vertex")]).write(path)
