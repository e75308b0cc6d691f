"""Frames: sizes, what they see, pictures looked up through the lens; and the cameras of real photos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.cameras.photo import Frame, Lens
from saga_backend.cameras.read import frames_with_splat, read_cameras, resize_frames, subsample
from tests.helpers.photo_sets import Shot, colmap_pixel, frame_pixel
from tests.paths import DATA

SCENES = DATA / "scenes"


def scene_folder(name: str) -> Path:
    folder = SCENES / name
    if not folder.is_dir():
        pytest.skip(f"the photos {name} are not on this machine (shared/data/scenes)")
    return folder


def test_sizes_to_render_keep_the_aspect_and_the_rays():
    view = View(np.eye(4), np.array([[1300, 0, 530], [0, 1300, 950], [0, 0, 1.0]]), 1080, 1920)
    small, wide, tall, own = (
        resize_frames([Frame(view, "a.jpg")], *size)[0].view for size in ((0, 0), (270, 0), (0, 960), (540, 960))
    )
    assert abs(small.width * small.height - 480 * 360) < 600 and abs(small.width / small.height - 1080 / 1920) < 2e-3
    assert (wide.width, wide.height) == (270, 480) and (tall.width, tall.height) == (540, 960) == (
        own.width,
        own.height,
    )
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    for other in (small, wide):
        rays = (corners * (other.width, other.height) - other.K[:2, 2]) / np.diag(other.K)[:2]
        np.testing.assert_allclose(rays, (corners * (1080, 1920) - view.K[:2, 2]) / 1300, atol=1e-9)
    with pytest.raises(UserError, match="another aspect ratio"):
        resize_frames([Frame(view, "a.jpg")], 480, 360)
    tiny = View(np.eye(4), np.eye(3), 100, 50)
    assert resize_frames([Frame(tiny, "a.jpg")])[0].view.width == 100  # never enlarged unasked


def test_some_of_many_frames():
    frames = [Frame(View(np.eye(4), np.eye(3), 4, 4), str(i)) for i in range(9)]
    assert [f.name for f in subsample(frames, 3)] == ["0", "4", "8"]
    assert subsample(frames, 0) == subsample(frames, 20) == frames


def test_views_that_see_nothing_are_left_out():
    cloud = GaussianCloud(
        np.zeros((3, 3)), np.tile([1, 0, 0, 0], (3, 1)), np.ones((3, 3)), np.ones(3), np.zeros((3, 1, 3))
    )
    K = np.array([[50, 0, 50], [0, 50, 50], [0, 0, 1.0]])
    at_it = Frame(View(look_at(np.array([0, 0, -4]), np.zeros(3), np.array([0, -1, 0])), K, 100, 100), "at")
    away = Frame(View(look_at(np.array([0, 0, -4]), np.array([0, 0, -9.0]), np.array([0, -1, 0])), K, 100, 100), "away")
    aside = Frame(
        View(look_at(np.array([0, 0, -4]), np.array([9, 0, -4.0]), np.array([0, -1, 0])), K, 100, 100), "side"
    )
    assert frames_with_splat([away, at_it, aside], cloud) == [at_it]
    with pytest.raises(UserError, match="No camera sees the splat"):
        frames_with_splat([away, aside], cloud)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_pictures_are_looked_up_by_their_nearest_pixel(width, height, w, h):
    frame = Frame(View(np.eye(4), np.eye(3), width, height), "a")
    picture = np.arange(w * h).reshape(h, w)
    seen = frame.look_up(picture)
    for row in range(height):
        for column in range(width):
            across, down = pixels_at(column, width, w), pixels_at(row, height, h)
            assert seen[row, column] in picture[np.ix_(down, across)]


def pixels_at(pixel: int, size: int, other: int) -> list[int]:
    """The pixels of a picture that are at the middle of a view's pixel; on a border between two it is either."""
    place = Fraction(2 * pixel + 1, 2) * other / size
    return [int(place)] if place.denominator > 1 else [int(place) - 1, int(place)]


def test_pictures_are_looked_up_through_the_lens():
    K = np.array([[60, 0, 33], [0, 55, 22], [0, 0, 1.0]])
    lens = Lens((0.2, -0.05, 0.01, 0, 0, 0), (0.01, -0.02))
    frame = Frame(View(np.eye(4), K, 64, 48), "a", None, lens)
    shot = Shot("a", np.eye(4), "FULL_OPENCV", [60, 55, 33, 22, 0.2, -0.05, 0.01, -0.02, 0.01, 0, 0, 0], 64, 48)
    picture = 1 + np.arange(96 * 128).reshape(96, 128)  # the photo at twice the view's size
    seen = frame.look_up(picture)
    outside = 0
    for row in range(48):
        for column in range(64):
            ray = np.array([(column + 0.5 - 33) / 60, (row + 0.5 - 22) / 55, 1])
            u, v = 2 * colmap_pixel(shot, ray)
            there = 0 <= u < 128 and 0 <= v < 96
            outside += not there
            assert seen[row, column] == (picture[int(v), int(u)] if there else 0)
    assert outside > 0  # the lens pushes the corners out of the photo: nothing is made up there
    assert frame.look_up(np.stack([picture, -picture])).shape == (2, 48, 64)


def test_a_picture_fits_when_its_aspect_is_the_photos():
    frame = Frame(View(np.eye(4), np.eye(3), 979, 546), "a")
    for size in ((979, 546), (980, 546), (490, 273), (489, 273), (1958, 1092), (245, 136)):
        assert frame.fits(*size), size
    for size in ((546, 979), (979, 560), (980, 540), (200, 200), (100, 100)):
        assert not frame.fits(*size), size


# --- real photos ----------------------------------------------------------------------------------------------------


def test_fern_points_have_the_colors_of_the_photos():
    """The reconstruction's colored points, projected, land on pixels of their color: axes, order and K are right."""
    folder = scene_folder("fern")
    rows = [line.split() for line in (folder / "sparse/0/points3D.txt").read_text().splitlines() if line[:1] != "#"]
    points, colors = np.array([r[1:4] for r in rows], float), np.array([r[4:7] for r in rows], float)
    colmap, llff = read_cameras(folder), read_cameras(folder / "poses_bounds.npy")
    assert [f.name for f in colmap.frames] == [f.name for f in llff.frames] and len(colmap.frames) == 20
    assert colmap.notes and not llff.notes and colmap.frames[0].image == folder / "images_8" / "image000.png"
    for one, other in zip(colmap.frames, llff.frames, strict=True):
        np.testing.assert_allclose(one.view.viewmat, other.view.viewmat, atol=1e-6)
        np.testing.assert_allclose(one.view.K, other.resized(504, 378).view.K, atol=0.02)
    right = np.median([color_error(f, f.image, points, colors) for f in colmap.frames])
    swapped = np.median(
        [color_error(f, g.image, points, colors) for f, g in zip(colmap.frames, colmap.frames[7:], strict=False)]
    )
    assert right < 20 < 1.5 * right < swapped


def color_error(frame: Frame, image: Path, points: np.ndarray, colors: np.ndarray) -> float:
    """Median difference of points' colors (0..255) to the photo's where they are seen."""
    photo = np.asarray(Image.open(image).convert("RGB")).astype(float)
    p = points @ frame.view.viewmat[:3, :3].T + frame.view.viewmat[:3, 3]
    front = p[:, 2] > 0
    x, y = frame.lens.distort(*(p[front, :2] / p[front, 2:]).T)
    pixels = np.stack([x, y, np.ones_like(x)], axis=1) @ frame.view.K.T
    inside = frame.view.contains(pixels[:, :2])
    assert inside.mean() > 0.5
    column, row = np.floor(pixels[inside, :2]).astype(int).T
    return float(np.median(np.abs(photo[row, column] - colors[front][inside]).mean(axis=1)))


def test_fox_has_fifty_photos_that_look_at_one_place():
    cameras = read_cameras(scene_folder("fox"))
    assert len(cameras.frames) == 50 and cameras.missing == 17
    assert "17 of 67 photos are missing" in cameras.notes[0] and "lens" in cameras.notes[1]
    eyes = np.array([f.view.camera_position for f in cameras.frames])
    aims = np.array([f.view.viewmat[2, :3] for f in cameras.frames])
    across = np.eye(3) - aims[:, :, None] * aims[:, None]  # nearest point to all axes of sight
    fox = np.linalg.solve(across.sum(0), (across @ eyes[:, :, None]).sum(0))[:, 0]
    for frame in resize_frames(cameras.frames):
        u, v = frame_pixel(frame, fox)
        assert (frame.view.viewmat @ [*fox, 1])[2] > 0
        assert 0.2 < u / frame.view.width < 0.8 and 0.2 < v / frame.view.height < 0.8
