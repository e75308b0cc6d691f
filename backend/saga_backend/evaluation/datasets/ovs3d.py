"""3D-OVS (Liu et al. 2023, "Weakly Supervised 3D Open-vocabulary Segmentation"): every pixel of some views named.

As published (https://github.com/Kunhao-Liu/3D-OVS, dataLoader/llff.py), a scene (bed, bench, lawn, room, sofa, ...) is

    images/, sparse/, poses_bounds.npy    photos and cameras
    segmentations/classes.txt             the names, one a line
    segmentations/K/NAME.png              the mask of NAME in the K-th photo, in the order of their names

The paper asks in words; here a class is prompted by points in the first annotated view and judged on the others, so
the numbers measure the segmentation alone and are not those of its table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from .common import Benchmark, Truth, by_stem, scene_folder, things_of

_MARKER = "segmentations"


def cameras_of(root: Path, name: str) -> Path | None:
    """The scene's own folder."""
    return scene_folder(root, _MARKER, name)


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """A scene of 3D-OVS.

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
        for thing, found in truths.items():
            if thing not in masks:
                raise UserError(
                    f"The scene {scene.name} is not complete",
                    f"{folder} has no mask of {thing}",
                    fix="Fetch the dataset again, with all of its files",
                )
            found.append(Truth(frame, masks[thing]))
    things, notes = things_of(truths)
    return Benchmark(scene.name, frames, things, notes)


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
