"""The multi-view segmentation set of SPIn-NeRF (Mirzaei et al. 2023): one object in a scene, masks in many views.

A published scene (Multiview-Segmentation-Data.zip, its README and https://spinnerf3d.github.io) is a folder

    SCENE (SOURCE)/VIEW.png                            the mask, for example `fern (llff)/image000.png`
    SCENE (SOURCE)/VIEW_cutout.png, VIEW_pseudo.png    pictures for people
    SCENE (SOURCE)/annotations.json

Photos and cameras are not included; they belong to the source datasets. VIEW is the name of the photo. In four LLFF
scenes it is imageNNN, with NNN the index of the photo in the order of names; in two others it is 0_ or 1_ and the name
of the photo. The first annotated view is the reference, all others are targets (the authors of SA3D describe this label
propagation in https://github.com/Jumpat/SegmentAnythingin3D/issues/34).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from .common import Benchmark, Truth, by_stem, labeled_objects, pick_scene


def cameras_of(root: Path, name: str) -> Path | None:
    """The folder of the scene if it contains cameras, else None."""
    scene = _scene(root, name)
    return scene if (scene / "sparse").is_dir() or (scene / "poses_bounds.npy").is_file() else None


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """Read a scene of SPIn-NeRF.

    Raises:
        UserError: if there are no masks, or a mask has no camera.
    """
    scene = _scene(root, name)
    ordered = sorted(frames, key=lambda frame: frame.name)
    truths = [Truth(_frame(path.stem, ordered), path) for path in _masks(scene)]
    objects, notes = labeled_objects({scene.name: truths})
    return Benchmark(scene.name, frames, objects, notes)


def _masks(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.png") if not p.stem.endswith(("_cutout", "_pseudo")))


def _scene(root: Path, name: str) -> Path:
    if not root.is_dir():
        raise UserError(
            f"The dataset {root} cannot be read", "the folder does not exist", fix="Give the folder of the dataset"
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
