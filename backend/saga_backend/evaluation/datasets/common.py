"""The common form of all benchmarks: objects with prompts in a reference view and true masks in target views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import maximum_filter

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from ...masks.mask_folder import check_aspect
from ...masks.mask_picture import read_mask


@dataclass(frozen=True, eq=False)
class Truth:
    """The true mask of an object in a view; the file is read on demand."""

    frame: Frame
    path: Path

    def mask(self) -> np.ndarray:
        """Read the mask, [H,W] bool at the size of the view.

        Raises:
            UserError: if the file is damaged or of another aspect than the photo.
        """
        picture = read_mask(self.path)
        check_aspect(self.path, self.frame, picture)
        return self.frame.look_up(picture)


@dataclass(frozen=True, eq=False)
class LabeledObject:
    """An object of a benchmark.

    Attributes:
        name: the authors' name.
        reference: the view of the prompts.
        positive, negative: [H,W] bool, the regions of that view for positive and negative points.
        targets: the true masks for the comparison; the reference view is not among them.
    """

    name: str
    reference: Frame
    positive: np.ndarray
    negative: np.ndarray
    targets: Sequence[Truth]


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A scene of a benchmark.

    Attributes:
        name: name of the scene.
        frames: the views for the training.
        objects: the objects to segment.
        notes: notes for the user about missing objects.
    """

    name: str
    frames: Sequence[Frame]
    objects: Sequence[LabeledObject]
    notes: Sequence[str] = ()


def reference_regions(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """The regions for positive and negative points of a reference mask: its inside and its outside, [H,W] bool each."""
    mask = truth.mask()
    return mask, ~mask


def strokes(path: Path, frame: Frame) -> np.ndarray:
    """Read a picture of thin strokes at the size of a view, [H,W] bool. Strokes thinner than a pixel are kept.

    Raises:
        UserError: if the file is damaged or of another aspect than the photo.
    """
    picture = read_mask(path)
    check_aspect(path, frame, picture)
    size = max(1, round(picture.shape[1] / frame.view.width))
    return frame.look_up(maximum_filter(picture, size=size))


def by_stem(frames: Sequence[Frame]) -> dict[str, Frame]:
    """Frames by the names of their photos, without suffix."""
    return {frame.stem: frame for frame in frames}


def scene_folder(root: Path, marker: str, name: str) -> Path:
    """The folder of a scene: `root` if it contains the marker, else a folder in it (by name, or the only one).

    Args:
        root: the folder of the benchmark or of a scene.
        marker: a file or folder in every scene.
        name: name of the scene, "" for the only one.

    Raises:
        UserError: if the scene does not exist, or if there are several and no name.
    """
    if not root.is_dir():
        raise UserError(
            f"The dataset {root} cannot be read", "the folder does not exist", fix="Give the folder of the dataset"
        )
    if (root / marker).exists():
        return root
    scenes = sorted(p for p in root.iterdir() if (p / marker).exists())
    return pick_scene(root, scenes, name)


def pick_scene(root: Path, scenes: Sequence[Path], name: str) -> Path:
    """The scene of that name, or the only one.

    Raises:
        UserError: if there is none, or several and no name.
    """
    found = [p for p in scenes if not name or p.name.lower() == name.lower() or p.name.lower().startswith(f"{name} (")]
    if len(found) == 1:
        return found[0]
    names = ", ".join(p.name for p in scenes) or "none"
    if not found:
        raise UserError(
            f"There is no scene {name or 'at all'} in {root}",
            f"its scenes are: {names}",
            fix="Name one of these with --name",
        )
    raise UserError(f"The dataset {root} has several scenes", names, "Name one with --name")


def labeled_objects(truths: dict[str, list[Truth]]) -> tuple[list[LabeledObject], list[str]]:
    """Objects with prompts from their first mask and the other masks as targets (label propagation).

    Args:
        truths: the masks of every object, in the order of the views.

    Returns:
        The objects, and notes about objects that cannot be evaluated.
    """
    objects, notes = [], []
    for name, masks in truths.items():
        if len(masks) < 2:
            notes.append(f"{name} has a mask in one view only, so there is no other mask to compare with")
            continue
        positive, negative = reference_regions(masks[0])
        if not positive.any():
            notes.append(f"{name} is empty in its reference view {masks[0].frame.name}")
            continue
        objects.append(LabeledObject(name, masks[0].frame, positive, negative, masks[1:]))
    if not objects:
        raise UserError(
            "The dataset has no objects to evaluate",
            "; ".join(notes) or "it has no masks",
            fix="See docs/measurements/evaluation.md for the required files",
        )
    return objects, notes
