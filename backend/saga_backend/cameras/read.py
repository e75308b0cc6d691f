"""Cameras of photos in any supported format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud

from .colmap import find_model, read_colmap
from .llff import read_llff
from .photo import IMAGE_SUFFIXES, Frame, without_extension
from .transforms_json import read_transforms

_IMAGE_FOLDERS = ("images", "images_2", "images_4", "images_8", "input", "rgb", ".")
_MAX_TESTED = 20_000  # Gaussians that represent the cloud in the visibility test


@dataclass(frozen=True, eq=False)
class Cameras:
    """Frames at the size of their photos, and what was skipped.

    Attributes:
        frames: the frames whose photo exists.
        missing: number of cameras skipped because their photo is missing.
        notes: sentences for the user about skipped cameras and assumptions.
    """

    frames: list[Frame]
    missing: int = 0
    notes: list[str] = field(default_factory=list)


def read_cameras(path: Path) -> Cameras:
    """Read the cameras of photos. Frames without a photo are skipped and counted in the notes.

    Args:
        path: a transforms.json; a poses_bounds.npy; a COLMAP model; or a folder with one of them. If there are several,
            the COLMAP model comes first, then transforms.json.

    Raises:
        UserError: if the file is missing or damaged, or none of the photos exists.
    """
    if not path.exists():
        raise UserError(
            f"The cameras {path} cannot be read",
            "there is no such file or folder",
            fix="Choose the folder with the photos and their cameras",
        )
    model = find_model(path) if path.is_dir() else None
    notes: list[str] = []
    missing = 0
    if model:
        frames, missing = _with_images(read_colmap(model), path, model)
    elif (transforms := _file(path, "transforms.json", ".json")) is not None:
        frames, notes, missing = read_transforms(transforms)
    elif (poses := _file(path, "poses_bounds.npy", ".npy")) is not None:
        frames = read_llff(poses)
    else:
        what = "cameras.bin or cameras.txt, transforms.json, poses_bounds.npy"
        raise UserError(f"{path} has no cameras", f"it has none of {what}", "Choose the folder that contains them")
    if not frames:
        why = f"none of its {missing} photos exists" if missing else "it lists none"
        raise UserError(f"{path} has no usable cameras", why, "Choose the folder that contains the photos")
    if missing:
        notes.append(f"{missing} of {missing + len(frames)} photos are missing; their cameras are skipped")
    if any(frame.lens for frame in frames):
        notes.append("the lens distorts: views are rasterized without the distortion, and masks are undistorted")
    return Cameras(frames, missing, notes)


def _file(path: Path, name: str, suffix: str) -> Path | None:
    if path.is_dir():
        return path / name if (path / name).is_file() else None
    return path if path.suffix == suffix else None


def _with_images(frames: list[Frame], folder: Path, model: Path) -> tuple[list[Frame], int]:
    """COLMAP's frames with their photos and the number of missing ones; a smaller copy may have another extension."""
    roots = [folder, model, *list(model.parents)[:2]]
    for images in (root / name for root in roots for name in _IMAGE_FOLDERS):
        matches = [replace(frame, image=image) for frame in frames if (image := _photo(images, frame.name))]
        if matches:
            return matches, len(frames) - len(matches)
    return [], len(frames)


def _photo(folder: Path, name: str) -> Path | None:
    if (folder / name).is_file():
        return folder / name
    stem = without_extension(name)
    return next((p for suffix in IMAGE_SUFFIXES if (p := folder / f"{stem}{suffix}").is_file()), None)


def resize_frames(frames: list[Frame], width: int = 0, height: int = 0) -> list[Frame]:
    """Frames at the size to rasterize, with the same aspect ratio.

    Args:
        frames: of any sizes.
        width, height: pixels. If one is 0, it follows from the other. If both are 0, a view gets at most as many pixels
            as 480 x 360.

    Raises:
        UserError: if both are given and differ from a photo's aspect ratio.
    """
    return [_resized(frame, width, height) for frame in frames]


def _resized(frame: Frame, width: int, height: int) -> Frame:
    view = frame.view
    if width and height and not frame.fits(width, height):
        why = f"{frame.name} has {view.width} x {view.height} pixels, which does not scale to {width} x {height}"
        raise UserError("The photos have another aspect ratio", why, "Give only --width")
    factor = min(1.0, (480 * 360 / (view.width * view.height)) ** 0.5)
    factor = width / view.width if width else height / view.height if height else factor
    return frame.resized(max(1, width or round(factor * view.width)), max(1, height or round(factor * view.height)))


def subsample(frames: list[Frame], limit: int) -> list[Frame]:
    """At most `limit` evenly spaced frames (0: all)."""
    if not limit or len(frames) <= limit:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, limit).round().astype(int)]


def frames_with_splat(frames: list[Frame], cloud: GaussianCloud) -> list[Frame]:
    """The frames that have a part of the cloud in the picture.

    Raises:
        UserError: if no frame has: the cameras are of another scene or coordinate system.
    """
    step = max(1, len(cloud) // _MAX_TESTED)
    means = cloud.means[::step].astype(np.float64)
    kept = []
    for frame in frames:
        p = means @ frame.view.viewmat[:3, :3].T + frame.view.viewmat[:3, 3]
        p = p[p[:, 2] > frame.view.near]
        if frame.view.orthographic:
            p[:, 2] = 1.0
        p = p @ frame.view.K.T
        if frame.view.contains(p[:, :2] / p[:, 2:]).any():
            kept.append(frame)
    if not kept:
        raise UserError(
            "No camera sees the splat",
            f"none of its Gaussians is in the picture of any of the {len(frames)} cameras",
            "Choose the cameras that the splat was trained with, in its coordinate system",
        )
    return kept
