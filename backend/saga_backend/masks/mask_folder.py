"""External masks: a folder with one file per photo, matched by the photo's name.

NAME.pt     SAGA's format: a tensor [N,H,W], bool, or numbers with values above 0.5 inside
NAME.png    a label map: every gray value or color is a mask; 0 or black is unlabeled
NAME.npz    `masks` [N,H,W] bool; or `labels` [H,W] or [L,H,W] integers (L levels), 0 is unlabeled; or the output of the
            command `masks` (cache.py)
NAME.json   a list of COCO run lengths {"size": [H, W], "counts": list or string}; or SAM's list of {"segmentation": run
            lengths}; or a dictionary with such a list under "masks" or "annotations"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image

from blender_saga.errors import ErrorCode, UserError

from ..cameras.photo import Frame, without_extension
from ..common.safe_arrays import BROKEN, check_archive, check_tensor
from . import coco_rle
from .cache import read_runs
from .run_lengths import check_size

MAX_LABELS = 4096
"""A picture with more values than this is a photo, not a label map."""
_BROKEN = (*BROKEN, TypeError, AttributeError, OverflowError, Image.DecompressionBombError)


class MaskFolder(Sequence[np.ndarray]):
    """The masks [N,H,W] of every frame at its view's size, read on access, because all would not fit into memory.

    Attributes:
        missing: names of the frames without a mask file.
    """

    def __init__(self, folder: Path, frames: Sequence[Frame]) -> None:
        """Match files with frames; no file is read yet.

        Raises:
            UserError: if the folder is missing, has no file for any frame, or has two files for one frame.
        """
        if not folder.is_dir():
            raise UserError(
                f"The masks {folder} cannot be read",
                "there is no such folder",
                fix="Choose the folder with the mask files",
            )
        self._folder, self._frames = folder, frames
        stems = [frame.stem for frame in frames]
        self._unique_stems = len(set(stems)) == len(stems)
        self._paths = [self._find(frame) for frame in frames]
        self.missing = [frame.name for frame, path in zip(frames, self._paths, strict=True) if path is None]
        if len(self.missing) == len(frames):
            names = sorted(p.name for p in folder.iterdir() if p.suffix in _READERS)
            why = f"it has {len(names)} mask files ({', '.join(names[:3])} ...)" if names else "it has no mask files"
            example = frames[0].stem if frames else "NAME"
            raise UserError(f"The masks {folder} fit none of the photos", why, f"Name them like {example}.png")

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        path, frame = self._paths[index], self._frames[index]
        return np.zeros((0, frame.view.height, frame.view.width), bool) if path is None else read_masks(path, frame)

    def check_first(self) -> None:
        """Read the first file, so that masks of other photos are rejected before other work starts.

        Raises:
            UserError: as `read_masks`.
        """
        path, frame = next((p, f) for p, f in zip(self._paths, self._frames, strict=True) if p is not None)
        read_masks(path, frame)

    def _find(self, frame: Frame) -> Path | None:
        """The file with the frame's full name including folders, or with its stem if that is unique."""
        bases = [without_extension(frame.name), frame.name, *([frame.stem] if self._unique_stems else [])]
        for base in bases:
            if ".." in Path(base).parts or Path(base).is_absolute():
                continue  # names are untrusted and must not leave the folder
            matches = [p for suffix in _READERS if _is_file(p := self._folder / (base + suffix))]
            if len(matches) > 1:
                names = " and ".join(p.name for p in matches)
                raise UserError(
                    f"The masks {self._folder} are ambiguous",
                    f"{names} belong to the same photo",
                    fix="Keep one file per photo",
                )
            if matches:
                return matches[0]
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_masks(path: Path, frame: Frame) -> np.ndarray:
    """[N,H,W] bool: the masks of a file, resampled into the frame's view (nearest pixel), without empty masks.

    Raises:
        UserError: if the file is damaged, is not a mask file, or has another aspect ratio than the photo.
    """
    try:
        masks = [mask for picture in _READERS[path.suffix](path) if (mask := _resample(path, frame, picture)).any()]
    except UserError:
        raise
    except _BROKEN as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"The masks {path} cannot be read", why, "Use one of the formats in the docs") from error
    return np.stack(masks) if masks else np.zeros((0, frame.view.height, frame.view.width), bool)


def _resample(path: Path, frame: Frame, mask: np.ndarray) -> np.ndarray:
    check_aspect(path, frame, mask)
    return frame.look_up(mask)


def check_aspect(path: Path, frame: Frame, picture: np.ndarray) -> None:
    """Check that a picture [H,W] has the aspect ratio of the frame's photo.

    Raises:
        UserError: if it has another.
    """
    height, width = picture.shape
    if not (height and width) or not frame.fits(width, height):
        why = f"{path.name} has {width} x {height} pixels, and {frame.name} has the aspect ratio of "
        why += f"{frame.view.width} x {frame.view.height}"
        raise UserError(
            "The masks do not fit the photo", why, "Choose the masks of these photos", code=ErrorCode.BAD_MASKS
        )


def split_labels(labels: np.ndarray) -> Iterator[np.ndarray]:
    """The masks [H,W] bool of a label map [H,W]; 0 is unlabeled.

    Raises:
        ValueError: if it has too many values for a label map.
    """
    values = np.unique(labels)
    if len(values) > MAX_LABELS:
        raise ValueError(f"it has {len(values)} values and so is a photo, not a label map")
    for value in values[values != 0]:
        yield labels == value


def _from_torch(path: Path) -> Iterator[np.ndarray]:
    import torch  # takes seconds to import

    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on any error of its reader, including unpickling errors
        raise ValueError("the file does not contain plain tensors") from error
    if not isinstance(tensor, torch.Tensor) or tensor.ndim != 3:
        raise ValueError("the file is not one tensor [N,H,W]")
    for mask in check_tensor(tensor):
        yield (mask if mask.dtype == torch.bool else mask > 0.5).numpy()


def label_map(path: Path) -> np.ndarray:
    """[H,W] int64 labels of a picture: gray values, palette indices, or colors as one integer; 0 is unlabeled."""
    with Image.open(path) as picture:
        check_size(picture.height, picture.width)
        if picture.mode in ("1", "L", "P", "I", "I;16", "I;16B"):
            return np.asarray(picture).astype(np.int64)
        if picture.mode == "LA":
            return np.asarray(picture)[..., 0].astype(np.int64)
        rgba = np.asarray(picture.convert("RGBA")).astype(np.int64)
    return (rgba[..., :3] @ np.array([65536, 256, 1])) * (rgba[..., 3] > 127)


def _from_picture(path: Path) -> Iterator[np.ndarray]:
    return split_labels(label_map(path))


def _from_npz(path: Path) -> Iterator[np.ndarray]:
    check_archive(path)
    with np.load(path, allow_pickle=False) as arrays:
        if "masks" in arrays:
            masks = arrays["masks"]
            if masks.ndim != 3 or masks.dtype.kind not in "bui":
                raise ValueError("'masks' is not bool [N,H,W]")
            yield from masks.astype(bool)
            return
        if "counts" in arrays:
            yield from read_runs(arrays)
            return
        labels = arrays["labels"]
        if labels.ndim not in (2, 3) or labels.dtype.kind not in "ui":
            raise ValueError("'labels' is not an integer array [H,W] or [L,H,W]")
        for level in labels.reshape(-1, *labels.shape[-2:]):
            yield from split_labels(level)


def _from_json(path: Path) -> Iterator[np.ndarray]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content = content["masks"] if "masks" in content else content["annotations"]
    for entry in content:
        runs = entry.get("segmentation", entry)
        yield coco_rle.decode(int(runs["size"][0]), int(runs["size"][1]), runs["counts"])


_READERS: dict[str, Callable[[Path], Iterator[np.ndarray]]] = {
    ".pt": _from_torch,
    ".png": _from_picture,
    ".npz": _from_npz,
    ".json": _from_json,
}
