"""NVOS (Ren et al. 2022, "Neural Volumetric Object Selection"): scribbles in one view, one true mask in another.

The published labels (https://jason718.github.io/nvos/; OpenVDB's fvdb-examples describe the tree too, in eval_nvos.py
of GARfVDB) are

    masks/SCENE/PHOTO_mask.png and PHOTO.JPG         the true mask and the target view
    reference_image/SCENE/PHOTO.JPG                  the view of the scribbles
    scribbles/SCENE/pos_*.png, neg_*.png, vis_*.png  at a quarter of the photo's size

SCENE is fern, flower, fortress, horns_center, horns_left, leaves, orchids or trex. The photos are those of LLFF; NVOS
uses their undistorted version, in folders such as `fern_undistort`. The training does not use the target view.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import IMAGE_SUFFIXES, Frame
from .common import Benchmark, LabeledObject, Truth, by_stem, pick_scene, strokes

_LABELS = (".", "llff", "labels/llff", "labels", "data/llff")


def cameras_of(root: Path, name: str) -> Path | None:
    """The folder of the scene's cameras if it is beside the labels, else None."""
    labels, base = _labels(root), _scene(root, name).split("_")[0]
    parents = (root, root / "scenes", root / "nerf_llff_data", root / "llff_undistorted", labels)
    folders = (where / folder for where in parents for folder in (f"{base}_undistort", base))
    return next((p for p in folders if p.is_dir() and any(p.glob("images*"))), None)


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """Read a scene of NVOS.

    Raises:
        UserError: if a file is missing, or a view has no camera.
    """
    labels, scene = _labels(root), _scene(root, name)
    target = _only(labels / "masks" / scene, "*_mask.png")
    photos = [p for p in (labels / "reference_image" / scene).glob("*") if p.suffix in IMAGE_SUFFIXES]
    if len(photos) != 1:
        raise UserError(
            f"The scene {scene} is not complete",
            f"it has {len(photos)} reference images instead of 1",
            fix="Fetch the dataset again, with all of its files",
        )
    reference, truth = _frame(photos[0].stem, frames), _frame(target.stem.removesuffix("_mask"), frames)
    scribbles = labels / "scribbles" / scene
    positive, negative = (strokes(_only(scribbles, f"{kind}_*.png"), reference) for kind in ("pos", "neg"))
    if not positive.any():
        raise UserError(
            f"The scene {scene} is not complete", "its positive scribble is empty", fix="Fetch the dataset again"
        )
    target_object = LabeledObject(scene, reference, positive, negative & ~positive, [Truth(truth, target)])
    return Benchmark(scene, [f for f in frames if f is not truth] or frames, [target_object])


def _labels(root: Path) -> Path:
    found = next((root / place for place in _LABELS if (root / place / "scribbles").is_dir()), None)
    if found is None:
        raise UserError(f"{root} is not an NVOS folder", "it has no folder scribbles", "Give the folder of its labels")
    return found


def _scene(root: Path, name: str) -> str:
    scribbles = _labels(root) / "scribbles"
    return pick_scene(root, sorted(p for p in scribbles.iterdir() if p.is_dir()), name).name


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise UserError(
            f"The scene {folder.name} is not complete",
            f"{folder} has {len(found)} files {pattern}",
            fix="Fetch the dataset again, with all of its files",
        )
    return found[0]


def _frame(stem: str, frames: Sequence[Frame]) -> Frame:
    try:
        return by_stem(frames)[stem]
    except KeyError:
        raise UserError(f"No camera belongs to {stem}", f"there are {len(frames)} others", "Give its --views") from None
