"""SPIn-NeRF's multi-view segmentation set (Mirzaei et al. 2023): one thing a scene, masks in many views.

As published (Multiview-Segmentation-Data.zip, its README and https://spinnerf3d.github.io), a scene is a folder

    SCENE (SOURCE)/VIEW.png                            the mask, for example `fern (llff)/image000.png`
    SCENE (SOURCE)/VIEW_cutout.png, VIEW_pseudo.png    for looking at
    SCENE (SOURCE)/annotations.json

without photos and cameras, which belong to the sets that the scenes come from. VIEW is the photo's name; in four
LLFF scenes it is imageNNN, NNN counting the photos in the order of their names; in two others it is the photo's name
after 0_ or 1_. The first annotated view is the reference, all others are targets (the authors of SA3D describe this
label propagation in https://github.com/Jumpat/SegmentAnythingin3D/issues/34).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from .common import Benchmark, Truth, by_stem, pick_scene, things_of


def cameras_of(root: Path, name: str) -> Path | None:
    """The scene's folder, where cameras were put into it."""
    scene = _scene(root, name)
    return scene if (scene / "sparse").is_dir() or (scene / "poses_bounds.npy").is_file() else None


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """A scene of SPIn-NeRF.

    Raises:
        UserError: if there are no masks, or a mask belongs to no camera.
    """
    scene = _scene(root, name)
    ordered = sorted(frames, key=lambda frame: frame.name)
    truths = [Truth(_frame(path.stem, ordered), path) for path in _masks(scene)]
    things, notes = things_of({scene.name: truths})
    return Benchmark(scene.name, frames, things, notes)


def _masks(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.png") if not p.stem.endswith(("_cutout", "_pseudo")))


def _scene(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise UserError(
            f"The dataset {root} cannot be read", "there is no such folder", fix="Give the folder of the dataset"
        )
    if _masks(root):
        return root
    return pick_scene(root, sorted(p for p in root.iterdir() if p.is_dir() and _masks(p)), name)


def _frame(stem: str, frames: Sequence[Frame]) -> Frame:
    stems = by_stem(frames)
    if stem in stems:
        return stems[stem]
    if (split := re.fullmatch("[01]_(.+)", stem)) and split[1] in stems:
        return stems[split[1]]
    if (numbered := re.fullmatch("image([0-9]+)", stem)) and int(numbered[1]) < len(frames):
        return frames[int(numbered[1])]
    raise UserError(f"No camera belongs to the mask {stem}.png", f"there are {len(frames)} others", "Give its --views")
