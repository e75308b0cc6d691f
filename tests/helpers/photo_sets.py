"""Writers of photo sets for tests: written from the formats' descriptions, not with the readers."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from saga_backend.cameras.photo import Frame
from saga_backend.evaluation.simulated import label_maps
from saga_backend.evaluation.synthetic import LabeledScene, standard_scene
from saga_backend.rasterizer.cpu import all_pixels, contributions, render

MODELS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "RADIAL": 3,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6,
}


@dataclass
class Shot:
    """A photo: name, world to camera, COLMAP camera model, its parameters, size."""

    name: str
    viewmat: np.ndarray
    model: str
    params: Sequence[float]
    width: int
    height: int


def shot_of(name: str, view: View) -> Shot:
    """A PINHOLE photo of a view."""
    params = [view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2]]
    return Shot(name, view.viewmat, "PINHOLE", params, view.width, view.height)


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
    """Where a frame, its lens included, sees a point of the world."""
    x, y, z = frame.view.viewmat[:3, :3] @ point + frame.view.viewmat[:3, 3]
    u, v = frame.lens.distort(np.array(x / z), np.array(y / z))
    return (frame.view.K @ [float(u), float(v), 1])[:2]


def _quaternion(viewmat: np.ndarray) -> list[float]:
    x, y, z, w = Rotation.from_matrix(viewmat[:3, :3]).as_quat().tolist()
    return [w, x, y, z]


def write_colmap_text(folder: Path, shots: Sequence[Shot], points: bool = True) -> None:
    """cameras.txt and images.txt, every photo with a camera of its own, every second one with 2D points."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = ["# Camera list"], ["# Image list with two lines of data per image:"]
    for i, shot in enumerate(shots):
        numbers = " ".join(repr(float(p)) for p in shot.params)
        cameras.append(f"{7 * i + 3} {shot.model} {shot.width} {shot.height} {numbers}")
        pose = " ".join(repr(float(v)) for v in [*_quaternion(shot.viewmat), *shot.viewmat[:3, 3]])
        images.append(f"{i + 1} {pose} {7 * i + 3} {shot.name}")
        images.append("10.5 20.25 -1 3 4 17" if points and i % 2 else "")
    (folder / "cameras.txt").write_text("\n".join(cameras) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")


def write_colmap_binary(folder: Path, shots: Sequence[Shot]) -> None:
    """The same as cameras.bin and images.bin."""
    folder.mkdir(parents=True, exist_ok=True)
    cameras, images = struct.pack("<Q", len(shots)), struct.pack("<Q", len(shots))
    for i, shot in enumerate(shots):
        cameras += struct.pack("<iiQQ", 7 * i + 3, MODELS[shot.model], shot.width, shot.height)
        cameras += struct.pack(f"<{len(shot.params)}d", *shot.params)
        images += struct.pack("<i7d", i + 1, *_quaternion(shot.viewmat), *shot.viewmat[:3, 3])
        images += struct.pack("<i", 7 * i + 3) + shot.name.encode() + b"\0"
        points = [(10.5, 20.25, -1), (3.0, 4.0, 17)] if i % 2 else []
        images += struct.pack("<Q", len(points)) + b"".join(struct.pack("<ddq", *p) for p in points)
    (folder / "cameras.bin").write_bytes(cameras)
    (folder / "images.bin").write_bytes(images)


def write_photos(folder: Path, shots: Sequence[Shot]) -> None:
    """A gray photo for each, with folders in between where the name has them."""
    for shot in shots:
        path = folder / shot.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (shot.width, shot.height), 90).save(path)


def write_transforms(path: Path, shots: Sequence[Shot], **more: object) -> None:
    """A transforms.json with the intrinsics in each frame; parameters are fx, fy, cx, cy."""
    turn = np.diag([1.0, -1, -1, 1])
    frames = []
    for shot in shots:
        fx, fy, cx, cy = shot.params[:4]
        pose = (np.linalg.inv(shot.viewmat) @ turn).tolist()
        own = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": shot.width, "h": shot.height}
        frames.append({"file_path": f"images/{shot.name}", "transform_matrix": pose} | own)
    path.write_text(json.dumps({"frames": frames} | more))


def small_scene(views: int = 6, width: int = 160) -> LabeledScene:
    """Two objects of the standard scene, thinned, seen in small views."""
    scene = standard_scene(objects=2, views=views, seed=1)
    some = np.flatnonzero(scene.labels[:, 0])[::3]
    cloud = scene.cloud.take(some)
    thick = GaussianCloud(cloud.means, cloud.quats, 1.7 * cloud.scales, cloud.opacities, cloud.sh)
    return LabeledScene(thick, scene.labels[some], [v.resized(width, 3 * width // 4) for v in scene.views])


def photograph(scene: LabeledScene, view: View) -> Image.Image:
    """What the splat looks like."""
    return Image.fromarray((np.clip(render(scene.cloud, view).rgb, 0, 1) * 255).astype(np.uint8))


def object_masks(scene: LabeledScene, view: View) -> dict[int, np.ndarray]:
    """The true mask [H,W] bool of every object in a view."""
    rows = contributions(scene.cloud, view, all_pixels(view))
    labels = label_maps(rows, scene.labels[:, :1], view.height, view.width)[0]
    return {int(label): labels == label for label in np.unique(scene.labels[:, 0]) if label}


def save_mask(path: Path, mask: np.ndarray, inside: int = 255) -> None:
    """A mask as a gray picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask * inside).astype(np.uint8)).save(path)
