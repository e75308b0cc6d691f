"""A made splat for machines without the real captures: two things that stand apart on nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import write_ply

_EACH = 6000


def write_things(folder: Path) -> None:
    """Write `scene.ply` and `labels.npy`: 1 is a red ball, 2 a blue box beside it, both above a green floor (0)."""
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(_EACH, 3))
    ball = ball / np.linalg.norm(ball, axis=1, keepdims=True) * 0.5 + (-0.9, -0.5, 0)
    box = rng.uniform(-0.4, 0.4, (_EACH, 3))
    side = rng.integers(0, 3, _EACH)
    box[np.arange(_EACH), side] = np.where(rng.random(_EACH) < 0.5, -0.4, 0.4)
    box += (0.9, -0.4, 0)
    floor = rng.uniform((-2, 0, -2), (2, 0.001, 2), (_EACH, 3))  # y points down in the files
    colors = np.repeat([[0.8, 0.1, 0.1], [0.1, 0.2, 0.8], [0.2, 0.5, 0.2]], _EACH, axis=0)
    n = 3 * _EACH
    quats = rng.normal(size=(n, 4))
    cloud = GaussianCloud(
        np.concatenate([ball, box, floor]),
        quats / np.linalg.norm(quats, axis=1, keepdims=True),
        np.full((n, 3), 0.02),
        np.full(n, 0.9),
        ((colors - 0.5) / 0.28209479)[:, None],
    )
    write_ply(folder / "scene.ply", cloud)
    np.save(folder / "labels.npy", np.repeat([1, 2, 0], _EACH).astype(np.int32))
