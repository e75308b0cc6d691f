"""A still render shows the splat: colored points of the right size where the rasterizer sees Gaussians."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.rasterizer.cpu import render
from tests.blender.support import addon
from tests.blender.test_splat_draw import splat

SIZE = 64


def ball(rng: np.random.Generator) -> GaussianCloud:
    """A closed surface of Gaussians, red on one side and green on the other."""
    means = rng.normal(size=(4000, 3))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    colors = np.where(means[:, :1] < 0, [[0.9, 0.1, 0.1]], [[0.1, 0.7, 0.2]])
    return GaussianCloud(
        means,
        np.tile([1.0, 0, 0, 0], (4000, 1)),
        np.full((4000, 3), 0.05),
        np.full(4000, 0.95),
        ((colors - 0.5) / 0.28209479)[:, None],
    )


def test_cycles_shows_what_the_rasterizer_shows(tmp_path: Path) -> None:
    cloud = ball(np.random.default_rng(0))
    splat("ball", cloud)
    viewmat = look_at(np.array([0.0, -4.0, 0.0]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    view = View(viewmat, np.array([[SIZE, 0, SIZE / 2], [0, SIZE, SIZE / 2], [0, 0, 1.0]]), SIZE, SIZE)
    scene, camera = bpy.context.scene, bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.collection.objects.link(camera)
    camera.matrix_world = Matrix(np.linalg.inv(np.diag([1.0, -1, -1, 1]) @ viewmat))
    camera.data.lens, camera.data.sensor_width = 36.0, 36.0  # a focal length of the picture's width
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 4
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    scene.render.film_transparent, scene.view_settings.view_transform = True, "Standard"
    scene.render.filepath = str(tmp_path / "still.png")
    session = addon("scene.state.session")
    assert "colored points" not in session.status.message
    bpy.ops.render.render(write_still=True)
    assert "renders splats as colored points" in session.status.message and not session.status.failed
    still = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(still.pixels).reshape(SIZE, SIZE, 4)[::-1]
    drawn = render(cloud, view)
    solid = drawn.alpha > 0.95
    assert (np.abs(pixels[..., 3] - drawn.alpha) < 0.3).mean() > 0.9  # the rims differ
    assert np.abs(pixels[..., :3] - drawn.rgb)[solid].mean() < 0.1


def test_a_render_without_splats_says_nothing_of_them(tmp_path: Path) -> None:
    scene, camera = bpy.context.scene, bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.collection.objects.link(camera)
    scene.camera, scene.render.engine, scene.cycles.samples = camera, "CYCLES", 1
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.render.filepath = str(tmp_path / "still.png")
    bpy.ops.render.render()
    assert addon("scene.state.session").status.message == ""
