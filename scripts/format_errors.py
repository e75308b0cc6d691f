"""Measure the rounding errors of each format on a splat: size, largest errors, difference of pictures.

Usage, in the environment: `PYTHONPATH=backend:. .venv/bin/python scripts/format_errors.py FILE` prints the table of
docs/user/formats.md.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.spatial import KDTree

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import WriteOptions, read_splat, write_splat
from blender_saga.gaussians.sh import C0
from blender_saga.gaussians.view import View, look_at
from saga_backend.rasterizer.cpu import render

NAMES = {
    "PLY": ("a.ply", 3),
    "glTF": ("a.glb", 3),
    "SPZ 3": ("three.spz", 3),
    "SPZ 4": ("four.spz", 4),
    "compressed PLY": ("a.compressed.ply", 3),
    ".splat": ("a.splat", 3),
}
"""For each row of the table, the file name and the SPZ version."""
_VIEWS = 6


def main() -> int:
    """Print a row for every format."""
    source = Path(sys.argv[1])
    cloud = read_splat(source).cloud
    print(f"{source.name}: {len(cloud):,} Gaussians, SH degree {cloud.sh_degree}\n")
    print("| format | bytes per Gaussian | center | scale | rotation | opacity | base color | harmonics | pictures |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for label, (name, version) in NAMES.items():
            path = Path(folder, name)
            write_splat(path, cloud, WriteOptions(spz_version=version))
            cells = [f"{path.stat().st_size / len(cloud):.1f}", *errors(cloud, read_splat(path).cloud)]
            print(f"| {label} | {' | '.join(cells)} |")
    return 0


def errors(before: GaussianCloud, after: GaussianCloud) -> list[str]:
    """The largest differences as text; for pictures, the root mean square in 255ths."""
    after = _in_order(before, after)
    size = np.ptp(before.means, axis=0).max()
    p, q = before.quats.astype(np.float64), after.quats.astype(np.float64)
    apart = np.minimum(np.linalg.norm(p - q, axis=1), np.linalg.norm(p + q, axis=1))
    longest = before.scales.max(axis=1, keepdims=True)
    lost = after.sh_degree < before.sh_degree
    return [
        f"{100 * _largest_difference(before.means, after.means) / size:.2g} %",
        f"{100 * _largest_difference(before.scales / longest, after.scales / longest):.2g} %",
        f"{np.degrees(4 * np.arcsin(apart.max() / 2)):.2f}",
        f"{_largest_difference(before.opacities, after.opacities):.4f}",
        f"{C0 * _largest_difference(before.sh[:, 0], after.sh[:, 0]):.4f}",
        "lost" if lost else f"{_largest_difference(before.sh[:, 1:], after.sh[:, 1:]):.4f}",
        f"{pictures(before, after):.2f}",
    ]


def _in_order(before: GaussianCloud, after: GaussianCloud) -> GaussianCloud:
    """Restore the order after a format that sorts, by center, size and opacity."""

    def key(cloud: GaussianCloud) -> np.ndarray:
        return np.column_stack([cloud.means, 0.02 * np.log(cloud.scales + 1e-9), 0.05 * cloud.opacities])

    if np.abs(before.means - after.means).max() < 1e-3 * np.ptp(before.means):
        return after
    return after.take(KDTree(key(after)).query(key(before))[1])


def _largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(np.float64) - b).max(initial=0))


def pictures(before: GaussianCloud, after: GaussianCloud) -> float:
    """The root mean square difference of views from all sides, in 255ths."""
    center = np.median(before.means, axis=0).astype(np.float64)
    radius = 2.5 * float(np.quantile(np.linalg.norm(before.means - center, axis=1), 0.95))
    squares = []
    for i in range(_VIEWS):
        angle = 2 * np.pi * i / _VIEWS
        eye = center + radius * np.array([np.cos(angle), -0.4, np.sin(angle)])
        K = np.array([[500, 0, 240], [0, 500, 180], [0, 0, 1.0]])
        view = View(look_at(eye, center, np.array([0, -1.0, 0])), K, 480, 360)
        squares.append(np.square(render(before, view).rgb - render(after, view).rgb).mean())
    return 255 * float(np.sqrt(np.mean(squares)))


if __name__ == "__main__":
    sys.exit(main())
