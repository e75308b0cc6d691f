"""Cameras of photos: written by hand, read back, and held against scipy, points with known pixels, and real photos."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_sets import Shot, shot_of, write_colmap_binary, write_colmap_text, write_photos, write_transforms
from PIL import Image
from saga_backend.cameras.frame import Frame, Lens
from saga_backend.cameras.read import read_cameras, resize_frames, seeing, spread
from scipy.spatial.transform import Rotation

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at
from blender_saga.wire.errors import UserError

SCENES = Path(__file__).parents[2].parent / "shared" / "data" / "scenes"
PARAMS = {
    "SIMPLE_PINHOLE": [70.0, 41.0, 29.0],
    "PINHOLE": [70.0, 66.0, 41.0, 29.0],
    "SIMPLE_RADIAL": [70.0, 41.0, 29.0, 0.03],
    "RADIAL": [70.0, 41.0, 29.0, 0.03, -0.01],
    "OPENCV": [70.0, 66.0, 41.0, 29.0, 0.03, -0.01, 0.002, -0.003],
    "FULL_OPENCV": [70.0, 66.0, 41.0, 29.0, 0.03, -0.01, 0.002, -0.003, 0.004, 0.01, 0.02, 0.003],
}


def scene_folder(name: str) -> Path:
    folder = SCENES / name
    if not folder.is_dir():
        pytest.skip(f"the photos {name} are not on this machine (shared/data/scenes)")
    return folder


def random_shots(rng: np.random.Generator) -> list[Shot]:
    """A photo of every camera model, from anywhere, looking anywhere."""
    shots = []
    for number, (model, params) in enumerate(PARAMS.items()):
        viewmat = np.eye(4)
        viewmat[:3, :3] = Rotation.random(random_state=rng).as_matrix()
        viewmat[:3, 3] = rng.normal(size=3) * 4
        shots.append(Shot(f"side/{number:03d} a.jpg", viewmat, model, params, 84, 60))
    return shots


def colmap_pixel(shot: Shot, point: np.ndarray) -> np.ndarray:
    """Where COLMAP sees a point of the world: the formulas of its camera models (src/colmap/sensor/models.h)."""
    x, y, z = shot.viewmat[:3, :3] @ point + shot.viewmat[:3, 3]
    u, v = x / z, y / z
    r2, p = u * u + v * v, list(shot.params)
    fx, fy, cx, cy = (p[0], p[0], *p[1:3]) if shot.model.startswith(("SIMPLE", "RADIAL")) else p[:4]
    if shot.model == "SIMPLE_RADIAL":
        u, v = u * (1 + p[3] * r2), v * (1 + p[3] * r2)
    elif shot.model == "RADIAL":
        u, v = (c * (1 + p[3] * r2 + p[4] * r2 * r2) for c in (u, v))
    elif "OPENCV" in shot.model:
        k1, k2, p1, p2 = p[4:8]
        k3, k4, k5, k6 = p[8:] if shot.model.startswith("FULL") else (0, 0, 0, 0)
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        u, v = (
            u * radial + 2 * p1 * u * v + p2 * (r2 + 2 * u * u),
            v * radial + 2 * p2 * u * v + p1 * (r2 + 2 * v * v),
        )
    return np.array([fx * u + cx, fy * v + cy])


def frame_pixel(frame: Frame, point: np.ndarray) -> np.ndarray:
    x, y, z = frame.view.viewmat[:3, :3] @ point + frame.view.viewmat[:3, 3]
    u, v = frame.lens.distort(np.array(x / z), np.array(y / z))
    return (frame.view.K @ [float(u), float(v), 1])[:2]


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


def test_nerfstudio_normalised_space(tmp_path, rng):
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
    assert "as they stand" in stored.notes[0]
    beside = {"transform": (transform @ applied)[:3].tolist(), "scale": 0.37}
    (tmp_path / "dataparser_transforms.json").write_text(json.dumps(beside))
    (frame,) = (normalised := read_cameras(tmp_path)).frames
    carried = 0.37 * (transform @ applied @ [*point, 1])[:3]
    np.testing.assert_allclose(frame_pixel(frame, carried), colmap_pixel(shot_of("a.png", view), point), atol=1e-9)
    assert "normalised" in normalised.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not understood"),
        ({}, "not understood"),
        ({"frames": []}, "it lists none"),
        ({"frames": [{"file_path": "gone.png", "transform_matrix": at(1)}]}, "none of the 1 photos"),
        ({"frames": [{"file_path": "a.png"}]}, "not understood"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": at(1)}]}, "camera_angle_x"),
        ({"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": [[1, 2], [3, 4]]}]}, "3x4 or 4x4"),
        ({"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": np.zeros((4, 4)).tolist()}]}, "Singular"),
        (
            {"fl_x": 5, "frames": [{"file_path": "a.png", "transform_matrix": np.diag([1, 1, -1, 1]).tolist()}]},
            "mirror",
        ),
        ({"fl_x": "wide", "frames": [{"file_path": "a.png", "transform_matrix": at(1)}]}, "not understood"),
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
        (np.zeros((2, 17), int), "not understood"),
        (np.full((2, 17), np.nan), "not finite"),
        (np.zeros((0, 17)), "there are none"),
        (np.ones((3, 17)), "poses of 3 photos; images has 2"),
    ],
)
def test_llff_that_cannot_be_used(tmp_path, poses, message):
    write_photos(tmp_path / "images", [Shot(n, np.eye(4), "", [], 20, 10) for n in ("b.JPG", "a.JPG")])
    np.save(tmp_path / "poses_bounds.npy", poses)
    with pytest.raises(UserError, match=message):
        read_cameras(tmp_path / "poses_bounds.npy")


# --- what all have in common ----------------------------------------------------------------------------------------


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_cameras(tmp_path / "gone")
    with pytest.raises(UserError, match="There are no cameras"):
        read_cameras(tmp_path)
    (tmp_path / "x.txt").write_text("?")
    with pytest.raises(UserError, match="There are no cameras"):
        read_cameras(tmp_path / "x.txt")


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
    with pytest.raises(UserError, match="another aspect"):
        resize_frames([Frame(view, "a.jpg")], 480, 360)
    tiny = View(np.eye(4), np.eye(3), 100, 50)
    assert resize_frames([Frame(tiny, "a.jpg")])[0].view.width == 100  # never enlarged unasked


def test_some_of_many_frames():
    frames = [Frame(View(np.eye(4), np.eye(3), 4, 4), str(i)) for i in range(9)]
    assert [f.name for f in spread(frames, 3)] == ["0", "4", "8"]
    assert spread(frames, 0) == spread(frames, 20) == frames


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
    assert seeing([away, at_it, aside], cloud) == [at_it]
    with pytest.raises(UserError, match="No camera sees the splat"):
        seeing([away, aside], cloud)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_pictures_are_looked_up_by_their_nearest_pixel(width, height, w, h):
    frame = Frame(View(np.eye(4), np.eye(3), width, height), "a")
    picture = np.arange(w * h).reshape(h, w)
    seen = frame.look_up(picture)
    for row in range(height):
        for column in range(width):
            u, v = (column + 0.5) * w / width, (row + 0.5) * h / height  # the same place in the picture
            expected = picture[int(v), int(u)]
            assert seen[row, column] == expected


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


def test_fern_points_have_the_colours_of_the_photos():
    """The reconstruction's coloured points, projected, land on pixels of their colour: axes, order and K are right."""
    folder = scene_folder("fern")
    rows = [line.split() for line in (folder / "sparse/0/points3D.txt").read_text().splitlines() if line[:1] != "#"]
    points, colours = np.array([r[1:4] for r in rows], float), np.array([r[4:7] for r in rows], float)
    colmap, llff = read_cameras(folder), read_cameras(folder / "poses_bounds.npy")
    assert [f.name for f in colmap.frames] == [f.name for f in llff.frames] and len(colmap.frames) == 20
    assert colmap.notes and not llff.notes and colmap.frames[0].image == folder / "images_8" / "image000.png"
    for one, other in zip(colmap.frames, llff.frames, strict=True):
        np.testing.assert_allclose(one.view.viewmat, other.view.viewmat, atol=1e-6)
        np.testing.assert_allclose(one.view.K, other.resized(504, 378).view.K, atol=0.02)
    right = np.median([colour_error(f, f.image, points, colours) for f in colmap.frames])
    swapped = np.median(
        [colour_error(f, g.image, points, colours) for f, g in zip(colmap.frames, colmap.frames[7:], strict=False)]
    )
    assert right < 20 < 1.5 * right < swapped


def colour_error(frame: Frame, image: Path, points: np.ndarray, colours: np.ndarray) -> float:
    """Median difference of points' colours (0..255) to the photo's where they are seen."""
    photo = np.asarray(Image.open(image).convert("RGB")).astype(float)
    p = points @ frame.view.viewmat[:3, :3].T + frame.view.viewmat[:3, 3]
    front = p[:, 2] > 0
    x, y = frame.lens.distort(*(p[front, :2] / p[front, 2:]).T)
    pixels = np.stack([x, y, np.ones_like(x)], axis=1) @ frame.view.K.T
    inside = frame.view.contains(pixels[:, :2])
    assert inside.mean() > 0.5
    column, row = np.floor(pixels[inside, :2]).astype(int).T
    return float(np.median(np.abs(photo[row, column] - colours[front][inside]).mean(axis=1)))


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
