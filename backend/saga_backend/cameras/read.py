"""Cameras of photos from whatever a folder holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud

from .colmap import find_model, read_colmap
from .llff import read_llff
from .photo import IMAGE_SUFFIXES, Frame, without_ending
from .transforms_json import read_transforms

_IMAGE_FOLDERS = ("images", "images_2", "images_4", "images_8", "input", "rgb", ".")
_LOOKED_AT = 20_000  # Gaussians that stand for the cloud when a view is tried


@dataclass(frozen=True, eq=False)
class Cameras:
    """Frames at the size of their photos.

    Attributes:
        frames: those whose photo is there.
        missing: how many cameras were left out because theirs is not.
        notes: sentences for the user about what was left out or assumed.
    """

    frames: list[Frame]
    missing: int = 0
    notes: list[str] = field(default_factory=list)


def read_cameras(path: Path) -> Cameras:
    """Read the cameras of photos; a frame whose photo is missing is left out and counted in the notes.

    Args:
        path: a transforms.json; a COLMAP model or a folder with one; a poses_bounds.npy; or a folder with one of
            them (where there are several, COLMAP's is taken, then transforms.json).

    Raises:
        UserError: if there is nothing there, it is damaged, or none of the photos exists.
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
        raise UserError(f"There are no cameras in {path}", f"it has none of {what}", "Give the folder that has them")
    if not frames:
        why = f"none of the {missing} photos that it names exists" if missing else "it lists none"
        raise UserError(f"There are no cameras to use in {path}", why, "Give the folder with the photos in it")
    if missing:
        notes.append(f"{missing} of {missing + len(frames)} photos are missing, their cameras were left out")
    if any(frame.lens for frame in frames):
        notes.append("the lens distorts: views are drawn without it, masks of the photos are looked up through it")
    return Cameras(frames, missing, notes)


def _file(path: Path, name: str, suffix: str) -> Path | None:
    if path.is_dir():
        return path / name if (path / name).is_file() else None
    return path if path.suffix == suffix else None


def _with_images(frames: list[Frame], given: Path, model: Path) -> tuple[list[Frame], int]:
    """COLMAP's frames with their photos, found by name, or by stem where a smaller copy has another ending."""
    roots = [given, model, *list(model.parents)[:2]]
    for folder in (root / place for root in roots for place in _IMAGE_FOLDERS):
        found = [replace(frame, image=image) for frame in frames if (image := _photo(folder, frame.name))]
        if found:
            return found, len(frames) - len(found)
    return [], len(frames)


def _photo(folder: Path, name: str) -> Path | None:
    if (folder / name).is_file():
        return folder / name
    stem = without_ending(name)
    return next((p for suffix in IMAGE_SUFFIXES if (p := folder / f"{stem}{suffix}").is_file()), None)


def resize_frames(frames: list[Frame], width: int = 0, height: int = 0) -> list[Frame]:
    """Frames at the size to render; the aspect stays.

    Args:
        frames: of any sizes.
        width, height: pixels; where only one is given the other follows, without both a view gets as many pixels as
            480 x 360 has, or its own number if that is less.

    Raises:
        UserError: if both are given and are not a photo's aspect.
    """
    return [_resized(frame, width, height) for frame in frames]


def _resized(frame: Frame, width: int, height: int) -> Frame:
    view = frame.view
    if width and height and not frame.fits(width, height):
        why = f"{frame.name} has {view.width} x {view.height} pixels, and {width} x {height} was asked for"
        raise UserError("The photos have another aspect", why, "Give only --width")
    factor = min(1.0, (480 * 360 / (view.width * view.height)) ** 0.5)
    factor = width / view.width if width else height / view.height if height else factor
    return frame.resized(max(1, width or round(factor * view.width)), max(1, height or round(factor * view.height)))


def spread(frames: list[Frame], limit: int) -> list[Frame]:
    """At most `limit` frames (0: all), evenly spaced."""
    if not limit or len(frames) <= limit:
        return frames
    return [frames[i] for i in np.linspace(0, len(frames) - 1, limit).round().astype(int)]


def seeing(frames: list[Frame], cloud: GaussianCloud) -> list[Frame]:
    """The frames that have some of the cloud in the picture.

    Raises:
        UserError: if none has: cameras of another scene or of another coordinate system.
    """
    step = max(1, len(cloud) // _LOOKED_AT)
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
            f"{len(frames)} cameras were tried, and not one of its Gaussians lies in their pictures",
            "Give the cameras that the splat was trained with, in its coordinate system",
        )
    return kept
