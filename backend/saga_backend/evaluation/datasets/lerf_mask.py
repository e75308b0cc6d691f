"""LERF-Mask (Ye et al. 2024, "Gaussian Grouping"): named objects in two to four views that training does not see.

The published scenes (https://github.com/lkeab/gaussian-grouping, docs/dataset.md: figurines, ramen, teatime) contain

    images/, sparse/              all photos and their COLMAP model
    images_train/                 the photos for the training
    test_mask/K/NAME.png          the mask of the object NAME in test view K

Test view K is the K-th photo, in the order of names, that is not in images_train (scene/dataset_readers.py there). The
first test view with a mask of the object is the reference, the others are targets, as in Click-Gaussian (section
4.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import UserError

from ...cameras.photo import Frame
from .common import Benchmark, Truth, by_stem, labeled_objects, scene_folder

_MARKER = "test_mask"


def cameras_of(root: Path, name: str) -> Path | None:
    """The folder of the scene."""
    return scene_folder(root, _MARKER, name)


def load(root: Path, name: str, frames: Sequence[Frame]) -> Benchmark:
    """Read a scene of LERF-Mask.

    Raises:
        UserError: if the folder of training photos is missing, or a test view has no camera.
    """
    scene = scene_folder(root, _MARKER, name)
    if not (scene / "images_train").is_dir():
        why = "it has no folder images_train, which tells training photos from test views"
        raise UserError(
            f"The scene {scene.name} is not complete", why, fix="Fetch the dataset again, with all of its files"
        )
    train = {p.stem for p in (scene / "images_train").iterdir()}
    tests = sorted((f for f in frames if f.stem not in train), key=lambda frame: frame.name)
    truths: dict[str, list[Truth]] = {}
    for folder in sorted((p for p in (scene / _MARKER).iterdir() if p.is_dir()), key=_order):
        frame = _frame(folder.name, tests)
        for path in sorted(folder.glob("*.png")):
            truths.setdefault(path.stem, []).append(Truth(frame, path))
    objects, notes = labeled_objects(truths)
    return Benchmark(scene.name, [f for f in frames if f.stem in train] or list(frames), objects, notes)


def _order(folder: Path) -> tuple[int, str]:
    return (int(folder.name) if folder.name.isdigit() else 0, folder.name)


def _frame(name: str, tests: Sequence[Frame]) -> Frame:
    if name in by_stem(tests):
        return by_stem(tests)[name]
    if name.isdigit() and int(name) < len(tests):
        return tests[int(name)]
    raise UserError(
        f"No camera belongs to the test view {name}",
        f"{len(tests)} photos are not in images_train",
        fix="Fetch the dataset again, with all of its photos",
    )
