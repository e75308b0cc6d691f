"""The main job with the real backend out of the installed zip: import, train, click, split, export."""

from __future__ import annotations

import sys
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

from blender_saga.gaussians.cloud import GaussianCloud
from tests.blender.clouds import random_cloud, read_inria, write_inria
from tests.blender.support import addon
from tests.blender.views import Eye, click

N = 2500
PLACES = np.array([[-0.8, 0, 0.35], [0.8, 0, 0.35]])  # of two balls on a floor, in Blender's space


def two_balls() -> tuple[GaussianCloud, np.ndarray]:
    """Two balls of different color on a floor of another one, in the files' axes, and labels 1, 2 and 0."""
    rng = np.random.default_rng(3)
    directions = rng.normal(size=(2 * N, 3))
    balls = np.repeat(PLACES, N, axis=0) + 0.35 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    floor = np.concatenate([rng.uniform(-2, 2, (2 * N, 2)), np.zeros((2 * N, 1))], axis=1)
    labels = np.repeat([1, 2, 0], [N, N, 2 * N])
    means = np.concatenate([balls, floor]) @ np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    cloud = random_cloud(4 * N, 1)
    sh = cloud.sh * 0.02
    sh[:, 0] += np.array([[0.3, 0.3, 0.3], [1.2, -1.0, -1.0], [-1.0, -0.8, 1.2]])[labels]
    size = np.where(labels == 0, 0.03, 0.02)[:, None].repeat(3, axis=1)
    return GaussianCloud(means, cloud.quats, size, np.full(4 * N, 0.95), sh), labels


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / max(1, (mask | truth).sum()))


def test_main_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs the backend's packages")
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", sys.executable)
    cloud, labels = two_balls()
    write_inria(tmp_path / "balls.ply", cloud)
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "balls.ply"))
    splat = bpy.context.view_layer.objects.active
    selection = addon("scene.splat.point_cloud").selection

    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=120, views=8, width=160, height=120) == {"FINISHED"}
    assert (tmp_path / "balls.saga").stat().st_size > 0

    eye = Eye((0, -6, 1.2), (0, 0, 0.5))
    overlaps = {}
    for scale in (0.4, 0.6, 0.8):
        assert click(Vector(PLACES[1]), eye, scale=scale) == {"FINISHED"}
        overlaps[scale] = overlap(selection(splat), labels == 2)
    chosen = max(overlaps, key=overlaps.get)
    assert overlaps[chosen] >= 0.7  # the underside of the ball is seen by no view

    click(Vector((0, 4, 2)), eye, scale=chosen)  # the background, above the floor's far edge
    assert not selection(splat).any()

    click(Vector(PLACES[1]), eye, scale=chosen)
    mask = selection(splat)
    bpy.ops.saga.split()
    part = bpy.context.view_layer.objects.active
    assert len(part.data.points) == mask.sum()
    bpy.ops.saga.export_splat(filepath=str(tmp_path / "ball.ply"))
    np.testing.assert_allclose(read_inria(tmp_path / "ball.ply")["sh"], cloud.sh[mask], atol=1e-5)

    part.location.z += 1.0  # moved, it is clicked where it stands
    click(Vector(PLACES[1]) + Vector((0, 0, 1)), eye, scale=chosen)
    assert selection(part).mean() > 0.5 > selection(splat).mean()
