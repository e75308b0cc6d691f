"""What every benchmark comes down to: things, each with prompts in a reference view and true masks in target views."""

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
    """The true mask of a thing in a view, read when it is needed."""

    frame: Frame
    path: Path

    def mask(self) -> np.ndarray:
        """[H,W] bool at the view's size.

        Raises:
            UserError: if the file is damaged or of another aspect than the photo.
        """
        picture = read_mask(self.path)
        check_aspect(self.path, self.frame, picture)
        return self.frame.look_up(picture)


@dataclass(frozen=True, eq=False)
class LabeledObject:
    """Something to segment.

    Attributes:
        name: the authors' name of it.
        reference: the view the prompts are drawn in.
        positive, negative: [H,W] bool, where in that view positive and negative points may be drawn.
        targets: the true masks to compare with; the reference view is none of them.
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
        name: the scene's.
        frames: the views to train in.
        things: what is segmented.
        notes: what the user should know of what was left out.
    """

    name: str
    frames: Sequence[Frame]
    things: Sequence[LabeledObject]
    notes: Sequence[str] = ()


def reference_regions(truth: Truth) -> tuple[np.ndarray, np.ndarray]:
    """Where points may be drawn from a reference mask: inside it, and outside, [H,W] bool each."""
    mask = truth.mask()
    return mask, ~mask


def strokes(path: Path, frame: Frame) -> np.ndarray:
    """[H,W] bool: a drawing of thin strokes in a view; lines thinner than the view's pixels survive.

    Raises:
        UserError: if the file is damaged or of another aspect than the photo.
    """
    picture = read_mask(path)
    check_aspect(path, frame, picture)
    size = max(1, round(picture.shape[1] / frame.view.width))
    return frame.look_up(maximum_filter(picture, size=size))


def by_stem(frames: Sequence[Frame]) -> dict[str, Frame]:
    """Frames by their photos' names without ending."""
    return {frame.stem: frame for frame in frames}


def scene_folder(root: Path, marker: str, name: str) -> Path:
    """The folder of a scene: `root` itself where it holds the marker, else the one below it (by name, or the only one).

    Args:
        root: the benchmark's folder or a scene's.
        marker: a file or folder that every scene has.
        name: the wanted scene, "" for the only one.

    Raises:
        UserError: if there is no such scene, or several and no name.
    """
    if not root.is_dir():
        raise UserError(
            f"The dataset {root} cannot be read", "there is no such folder", fix="Give the folder of the dataset"
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
    wanted = [p for p in scenes if not name or p.name.lower() == name.lower() or p.name.lower().startswith(f"{name} (")]
    if len(wanted) == 1:
        return wanted[0]
    names = ", ".join(p.name for p in scenes) or "none"
    if not wanted:
        raise UserError(
            f"There is no scene {name or 'at all'} in {root}",
            f"the scenes found are: {names}",
            fix="Name one of these with --name",
        )
    raise UserError(f"The dataset {root} has several scenes", names, "Name one with --name")


def things_of(truths: dict[str, list[Truth]]) -> tuple[list[LabeledObject], list[str]]:
    """Things prompted from their first mask and judged on the others (label propagation).

    Args:
        truths: the masks of every thing, in the order of the views.

    Returns:
        The things, and notes about those that cannot be judged.
    """
    things, notes = [], []
    for name, masks in truths.items():
        if len(masks) < 2:
            notes.append(f"{name} has a mask in one view only, so there is nothing to compare with")
            continue
        positive, negative = reference_regions(masks[0])
        if not positive.any():
            notes.append(f"{name} is empty in its reference view {masks[0].frame.name}")
            continue
        things.append(LabeledObject(name, masks[0].frame, positive, negative, masks[1:]))
    if not things:
        raise UserError(
            "The dataset has nothing to judge",
            "; ".join(notes) or "it has no masks",
            fix="Look up in docs/measurements/evaluation.md what it must hold",
        )
    return things, notes
