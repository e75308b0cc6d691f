"""3D-OVS (Liu et al. 2023, "Weakly Supervised 3D Open-vocabulary Segmentation"): a class for every pixel of some views.

The published scenes (https://github.com/Kunhao-Liu/3D-OVS, dataLoader/llff.py: bed, bench, lawn, room, sofa, ...)
contain

    images/, sparse/, poses_bounds.npy    photos and cameras
    segmentations/classes.txt             the names of the classes, one on each line
    segmentations/K/NAME.png              the mask of NAME in the K-th photo, in the order of names

The paper prompts with text. Here, points in the first annotated view prompt a class, and the other views are targets;
so the numbers measure the segmentation alone, and cannot be compared with the table of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from .common import Benchmark, Truth, by_stem, labeled_objects, scene_folder

_MARKER = "segmentations"


def cameras_of(root: Path, name: str) -> Path | None:
    """The folder of the scene."""
    return scene_folder(root, _MARKER, name)


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """Read a scene of 3D-OVS.

    Raises:
        UserError: if classes or masks are missing, or a view has no camera.
    """
    scene = scene_folder(root, _MARKER, name)
    segmentations = scene / _MARKER
    ordered = sorted(frames, key=lambda frame: frame.name)
    truths: dict[str, list[Truth]] = {name: [] for name in _classes(segmentations / "classes.txt")}
    for folder in sorted(p for p in segmentations.iterdir() if p.is_dir()):
        frame = _frame(folder.name, ordered)
        masks = {p.stem.strip(): p for p in folder.glob("*.png")}
        for label, class_truths in truths.items():
            if label not in masks:
                raise UserError(
                    f"The scene {scene.name} is not complete",
                    f"{folder} has no mask of {label}",
                    fix="Fetch the dataset again, with all of its files",
                )
            class_truths.append(Truth(frame, masks[label]))
    objects, notes = labeled_objects(truths)
    return Benchmark(scene.name, frames, objects, notes)


def _classes(path: Path) -> list[str]:
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise UserError(
            f"The classes {path} cannot be read", error.strerror or str(error), fix="Fetch the dataset again"
        ) from error
    return [name for name in names if name]


def _frame(name: str, frames: Sequence[Frame]) -> Frame:
    if name in by_stem(frames):
        return by_stem(frames)[name]
    if name.isdigit() and int(name) < len(frames):
        return frames[int(name)]
    raise UserError(f"No camera belongs to the view {name}", f"there are {len(frames)} others", "Give its --views")
