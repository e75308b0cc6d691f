"""Cameras of photos: written by hand, read back, and held against scipy and points with known pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View, look_at
from saga_backend.cameras.photo import Lens
from saga_backend.cameras.read import read_cameras
from tests.helpers.photo_sets import (
    Shot,
    colmap_pixel,
    frame_pixel,
    shot_of,
    write_colmap_binary,
    write_colmap_text,
    write_photos,
    write_transforms,
)

PARAMS = {
    "SIMPLE_PINHOLE": [70.0, 41.0, 29.0],
    "PINHOLE": [70.0, 66.0, 41.0, 29.0],
    "SIMPLE_RADIAL": [70.0, 41.0, 29.0, 0.03],
    "RADIAL": [70.0, 41.0, 29.0, 0.03, -0.01],
    "OPENCV": [70.0, 66.0, 41.0, 29.0, 0.03, -0.01, 0.002, -0.003],
    "FULL_OPENCV": [70.0, 66.0, 41.0, 29.0, 0.03, -0.01, 0.002, -0.003, 0.004, 0.01, 0.02, 0.003],
}


def random_shots(rng: np.random.Generator) -> list[Shot]:
    """A photo of every camera model, from anywhere, looking anywhere."""
    shots = []
    for number, (model, params) in enumerate(PARAMS.items()):
        viewmat = np.eye(4)
        viewmat[:3, :3] = Rotation.random(random_state=rng).as_matrix()
        viewmat[:3, 3] = rng.normal(size=3) * 4
        shots.append(Shot(f"side/{number:03d} a.jpg", viewmat, model, params, 84, 60))
    return shots


# --- COLMAP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_colmap_text, write_colmap_binary])
def test_colmap_points_land_on_their_pixels(tmp_path, rng, write):
    shots = random_shots(rng)
    write(tmp_path / "sparse" / "0", shots)
    write_photos(tmp_path / "images", shots)
    frames = read_cameras(tmp_path).frames
    assert [f.name for f in frames] == [s.name for s in shots]
    assert [f.stem for f in frames] == [f"{i:03d} a" for i in range(6)]
    for frame, shot in zip(frames, shots, strict=True):
        assert (frame.view.width, frame.view.height) == (84, 60) and frame.image == tmp_path / "images" / shot.name
        np.testing.assert_allclose(frame.view.viewmat, shot.viewmat, atol=1e-12)
        assert bool(frame.lens) == ("PINHOLE" not in shot.model)
        inside = np.linalg.inv(shot.viewmat) @ [*rng.uniform(-0.6, 0.6, 2), 1.5, 1]
        np.testing.assert_allclose(frame_pixel(frame, inside[:3]), colmap_pixel(shot, inside[:3]), atol=1e-9)


def test_colmap_text_and_binary_say_the_same(tmp_path, rng):
    shots = random_shots(rng)
    write_colmap_text(tmp_path / "t", shots)
    write_colmap_binary(tmp_path / "b", shots)
    for name in ("t", "b"):
        write_photos(tmp_path / name / "images", shots)
    text, binary = read_cameras(tmp_path / "t"), read_cameras(tmp_path / "b")
    assert text.notes == binary.notes and "lens" in text.notes[0]
    for one, other in zip(text.frames, binary.frames, strict=True):
        assert (one.name, one.lens) == (other.name, other.lens)
        np.testing.assert_array_equal(one.view.viewmat, other.view.viewmat)
        np.testing.assert_array_equal(one.view.K, other.view.K)


def test_colmap_photos_are_found_by_stem_missing_ones_are_counted(tmp_path, rng):
    shots = random_shots(rng)[:3]
    write_colmap_text(tmp_path / "sparse" / "0", shots)
    for shot in shots[:2]:
        shot.name = shot.name.replace(".jpg", ".png")
    write_photos(tmp_path / "images_4", shots[:2])  # smaller copies often have another ending
    for place in (tmp_path, tmp_path / "sparse", tmp_path / "sparse" / "0"):
        cameras = read_cameras(place)
        assert len(cameras.frames) == 2 and cameras.missing == 1
        assert "1 of 3 photos are missing" in cameras.notes[0] and cameras.frames[0].image.suffix == ".png"


def test_colmap_text_with_and_without_lines_of_points(tmp_path, rng):
    shots = random_shots(rng)[:4]
    write_photos(tmp_path / "images", shots)
    write_colmap_text(tmp_path, shots)
    text = (tmp_path / "images.txt").read_text()
    (tmp_path / "images.txt").write_text("\n\n" + text.rstrip("\n"))  # stray blank lines, none at the end
    assert len(read_cameras(tmp_path).frames) == 4


@pytest.mark.parametrize("cut", [4, 8, 40, 100, 500])
@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_truncated_binary_models_are_refused(tmp_path, rng, name, cut):
    shots = random_shots(rng)
    write_colmap_binary(tmp_path, shots)
    write_photos(tmp_path / "images", shots)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(UserError, match="damaged"):
        read_cameras(tmp_path)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("cameras.txt", "3 OPENCV_FISHEYE 84 60 1 1 1 1 0 0 0 0", "OPENCV_FISHEYE is not supported"),
        ("cameras.txt", "3 PINHOLE 84 60 1 1 1", "damaged"),
        ("cameras.txt", "3 MAGIC 84 60 1", "damaged"),
        ("cameras.txt", "4 PINHOLE 84 60 70 70 42 30", "damaged"),  # not the camera of the image
        ("cameras.txt", "3 PINHOLE 0 60 70 70 42 30", "not usable"),
        ("images.txt", "1 0 0 0 0 1 1 1 3 a.jpg", "quaternion"),
        ("images.txt", "1 1 0 0 0 nan 1 1 3 a.jpg", "not usable"),
        ("images.txt", "1 1 0 0 0 1 1", "damaged"),
        ("images.txt", "# nothing", "it lists none"),
    ],
)
def test_models_that_cannot_be_used(tmp_path, file, text, message):
    view = View(np.eye(4), np.array([[70, 0, 42], [0, 70, 30], [0, 0, 1.0]]), 84, 60)
    write_colmap_text(tmp_path, [shot_of("a.jpg", view)])
    write_photos(tmp_path / "images", [shot_of("a.jpg", view)])
    (tmp_path / file).write_text(text + "\n")
    with pytest.raises(UserError, match=message):
        read_cameras(tmp_path)


# --- transforms.json ------------------------------------------------------------------------------------------------


def write_json(folder: Path, content: object, images: tuple[str, ...] = ("a.png",)) -> Path:
    for name in images:
        Image.new("L", (200, 100)).save(folder / name)
    path = folder / "transforms.json"
    path.write_text(json.dumps(content))
    return path


def at(z: float) -> list[list[float]]:
    """A camera at (0, 0, z) that looks along -z with y up, in OpenGL's axes."""
    return [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, z], [0, 0, 0, 1]]


def test_transforms_axes(tmp_path):
    path = write_json(tmp_path, {"fl_x": 50, "frames": [{"file_path": "./a", "transform_matrix": at(5)}]})
    for place in (path, tmp_path):
        (frame,) = read_cameras(place).frames
        assert frame.image == tmp_path / "a.png" and frame.name == "a" and not frame.lens
        # Right of the middle and above it, five units ahead; the size is the photo's.
        np.testing.assert_allclose(frame_pixel(frame, np.array([1, 2, 0])), [100 + 50 / 5, 50 - 50 * 2 / 5])


def test_transforms_intrinsics_of_frame_file_and_field_of_view(tmp_path):
    frames = [
        {"file_path": "a.png", "transform_matrix": at(1), "fl_x": 30, "fl_y": 20, "cx": 7, "cy": 8, "k1": 0.5},
        {"file_path": "b.png", "transform_matrix": at(1)[:3]},
        {"file_path": "gone.png", "transform_matrix": at(1)},
    ]
    shared = {"camera_angle_x": np.pi / 2, "w": 400, "h": 300, "p2": 0.25, "frames": frames}
    cameras = read_cameras(write_json(tmp_path, shared, ("a.png", "b.png")))
    one, two = cameras.frames
    assert cameras.missing == 1 and "1 of 3 photos are missing" in cameras.notes[0]
    np.testing.assert_allclose(one.view.K, [[30, 0, 7], [0, 20, 8], [0, 0, 1]])
    np.testing.assert_allclose(two.view.K, [[200, 0, 200], [0, 200, 150], [0, 0, 1]])
    assert one.lens == Lens((0.5, 0, 0, 0, 0, 0), (0, 0.25)) and two.lens == Lens(tangential=(0, 0.25))
    assert (two.view.width, two.view.height) == (400, 300)


def test_transforms_and_colmap_of_the_same_cameras_agree(tmp_path, rng):
    shots = [shot for shot in random_shots(rng) if shot.model == "PINHOLE"]
    write_colmap_text(tmp_path / "c", shots)
    write_photos(tmp_path / "c" / "images", shots)
    write_photos(tmp_path / "images", shots)
    write_transforms(tmp_path / "transforms.json", shots)
    (one,), (other,) = read_cameras(tmp_path / "c").frames, read_cameras(tmp_path).frames
    np.testing.assert_allclose(one.view.viewmat, other.view.viewmat, atol=1e-9)
    np.testing.assert_allclose(one.view.K, other.view.K)


def test_nerfstudio_normalized_space(tmp_path, rng):
    """A point carried the way nerfstudio carries its points lands on the pixel it had in the reconstruction."""
    view = View(look_at(rng.normal(size=3) - 4, np.zeros(3), np.array([0, 0, 1.0])), np.diag([70.0, 70, 1]), 84, 60)
    shot = shot_of("a.png", view)
    write_photos(tmp_path / "images", [shot])
    point = rng.normal(size=3) * 0.3
    applied, transform = np.eye(4), np.eye(4)
    applied[:3, :3] = [[0, 1, 0], [1, 0, 0], [0, 0, -1]]
    transform[:3, :3], transform[:3, 3] = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    shot.viewmat = view.viewmat @ np.linalg.inv(applied)
    write_transforms(tmp_path / "transforms.json", [shot], applied_transform=applied[:3].tolist())
    stored = read_cameras(tmp_path)
    np.testing.assert_allclose(
        frame_pixel(stored.frames[0], applied[:3, :3] @ point), colmap_pixel(shot_of("a.png", view), point), atol=1e-9
    )
    assert "used unchanged" in stored.notes[0]
    beside = {"transform": (transform @ applied)[:3].tolist(), "scale": 0.37}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(beside))
    (frame,) = (normalized := read_cameras(tmp_path)).frames
    carried = 0.37 * (transform @ applied @ [*point, 1])[:3]
    np.testing.assert_allclose(frame_pixel(frame, carried), colmap_pixel(shot_of("a.png", view), point), atol=1e-9)
    assert "normalized" in normalized.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "cannot be read"),
        ({}, "cannot be read"),
        ({"frames": []}, "it lists none"),
        ({"frames": [{"file_path": "gone.png", "transform_matrix": at(1)}]}, "none of its 1 photos"),
        ({"frames": [{"file_path": "a.png"}]}, "cannot be read"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": at(1)}]}, "camera_angle_x"),
        ({"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": [[1, 2], [3, 4]]}]}, "3x4 or 4x4"),
        ({"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": np.zeros((4, 4)).tolist()}]}, "Singular"),
        (
            {"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": np.diag([1, 1, -1, 1]).tolist()}]},
            "mirror",
        ),
        ({"fl_x": "wide", "frames": [{"file_path": "a.png", "transform_matrix": at(1)}]}, "cannot be read"),
        ({"fl_x": 5, "k4": 1, "frames": [{"file_path": "a.png", "transform_matrix": at(1)}]}, "FISHEYE"),
        (
            {
                "fl_x": 5,
                "camera_model": "EQUIRECTANGULAR",
                "frames": [{"file_path": "a.png", "transform_matrix": at(1)}],
            },
            "EQUIRECTANGULAR is not supported",
        ),
    ],
)
def test_transforms_that_cannot_be_used(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_cameras(write_json(tmp_path, content))


# --- LLFF -----------------------------------------------------------------------------------------------------------


def test_llff_axes(tmp_path):
    write_photos(tmp_path / "images_8", [Shot(n, np.eye(4), "", [], 20, 10) for n in ("b.JPG", "a.JPG")])
    # Two cameras: one at the origin that looks along -z with y up, one at (0, 0, 3) that looks along -x with y up.
    looks = [
        [[0, 1, 0, 0, 100], [-1, 0, 0, 0, 200], [0, 0, 1, 0, 50]],
        [[0, 0, 1, 0, 100], [-1, 0, 0, 0, 200], [0, -1, 0, 3, 50]],
    ]
    poses = np.concatenate([np.array(looks, float).reshape(2, 15), [[1, 9]] * 2], axis=1)
    np.save(tmp_path / "poses_bounds.npy", poses)
    a, b = read_cameras(tmp_path).frames
    assert (a.name, b.name) == ("a.JPG", "b.JPG") and (a.view.width, a.view.height) == (200, 100)
    np.testing.assert_allclose(frame_pixel(a, np.array([1, 2, -5])), [100 + 10, 50 - 20])
    np.testing.assert_allclose(frame_pixel(b, np.array([-5, 2, 2])), [100 + 10, 50 - 20])


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        (np.zeros((2, 15)), r"\[2, 15\] instead of \[N, 17\]"),
        (np.zeros((2, 17), int), "cannot be read"),
        (np.full((2, 17), np.nan), "not finite"),
        (np.zeros((0, 17)), "no cameras"),
        (np.ones((3, 17)), "poses of 3 photos; images has 2"),
    ],
)
def test_llff_that_cannot_be_used(tmp_path, poses, message):
    write_photos(tmp_path / "images", [Shot(n, np.eye(4), "", [], 20, 10) for n in ("b.JPG", "a.JPG")])
    np.save(tmp_path / "poses_bounds.npy", poses)
    with pytest.raises(UserError, match=message):
        read_cameras(tmp_path / "poses_bounds.npy")


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no such file or folder"):
        read_cameras(tmp_path / "gone")
    with pytest.raises(UserError, match="has no cameras"):
        read_cameras(tmp_path)
    (tmp_path / "x.txt").write_text("?")
    with pytest.raises(UserError, match="has no cameras"):
        read_cameras(tmp_path / "x.txt")
