"""Text indices in the `.saga` file of their model: later searches need no pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..model.saga_file import read_file, write_tensors
from .text_index import WAYS, TextIndex

_ARRAYS = ("offsets", "ids", "vectors", "target_of", "thumbnails")


def add(path: Path, index: TextIndex) -> None:
    """Save an index in a `.saga` file; it replaces an older one of the same way.

    Raises:
        UserError: if the file is missing, unreadable or cannot be written.
    """
    tensors, facts = read_file(path)
    put(tensors, facts, index)
    write_tensors(path, tensors, facts)


def put(tensors: dict[str, np.ndarray], facts: dict[str, object], index: TextIndex) -> None:
    """Add an index to the arrays and facts of a `.saga` file."""
    for key in _ARRAYS:
        tensors[f"text.{index.way}.{key}"] = np.ascontiguousarray(getattr(index, key))
    described = facts.get("text")
    facts["text"] = {**(described if isinstance(described, dict) else {}), index.way: index.clip}


def read(path: Path, count: int) -> dict[str, TextIndex]:
    """The indices of a `.saga` file; see `read_indices`.

    Raises:
        UserError: if the file is unreadable.
    """
    return read_indices(*read_file(path), count)


def read_indices(tensors: dict[str, np.ndarray], facts: dict, count: int) -> dict[str, TextIndex]:
    """The indices in the arrays of a `.saga` file, by their way. A damaged index is left out; it can be built again.

    Args:
        tensors, facts: of the file.
        count: Gaussians of its cloud.
    """
    described, indices = facts.get("text"), {}
    for way, clip in described.items() if isinstance(described, dict) else ():
        arrays = [tensors.get(f"text.{way}.{key}") for key in _ARRAYS]
        if way in WAYS and isinstance(clip, str) and all(array is not None for array in arrays):
            index = TextIndex(way, clip, count, *arrays)  # type: ignore[arg-type]  # none is None
            if _is_valid(index):
                indices[way] = index
    return indices


def _is_valid(index: TextIndex) -> bool:
    offsets, ids, of, vectors, pictures = (
        getattr(index, key) for key in ("offsets", "ids", "target_of", "vectors", "thumbnails")
    )
    kinds = (offsets.dtype, ids.dtype, of.dtype, vectors.dtype, pictures.dtype)
    if kinds != (np.int64, np.int32, np.int32, np.float16, np.uint8):
        return False
    if (offsets.ndim, ids.ndim, of.ndim, vectors.ndim, pictures.ndim) != (1, 1, 1, 2, 4) or not len(offsets):
        return False
    targets = len(index)
    if len(of) != len(vectors) or len(pictures) != targets or pictures.shape[3] != 3:
        return False
    rising = offsets[0] == 0 and offsets[-1] == len(ids) and (np.diff(offsets) >= 0).all()
    inside = not len(ids) or 0 <= ids.min() <= ids.max() < index.count
    voting = not len(of) or 0 <= of.min() <= of.max() < targets
    return bool(rising and inside and voting and np.isfinite(vectors).all())
