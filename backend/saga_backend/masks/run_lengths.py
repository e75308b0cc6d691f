"""Masks as run lengths: a hundred masks of a picture take kilobytes and are decoded one at a time.

Runs follow COCO: they alternate, starting with 0, in column-major order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

MAX_PIXELS = 1 << 28
"""Limit for a picture: 16,384 squared."""


def check_size(height: int, width: int) -> None:
    """Reject an invalid picture size: a few bytes of run lengths can declare any size.

    Raises:
        ValueError: if the size is invalid.
    """
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"a picture cannot have {height} x {width} pixels")


def encode(mask: np.ndarray) -> np.ndarray:
    """[R] uint32 run lengths of a mask [H,W] bool."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if not len(flat) or not flat[0] else [0, 0], edges, [len(flat)]])
    return np.diff(ends).astype(np.uint32)


def decode(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[H,W] bool mask of run lengths [R] and a size (height, width).

    Raises:
        ValueError: if the runs do not fill the picture exactly.
    """
    height, width = size
    check_size(height, width)
    if int(counts.sum(dtype=np.int64)) != height * width:
        raise ValueError(f"the runs have {int(counts.sum(dtype=np.int64))} pixels, the picture is {height} x {width}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(width, height).T


@dataclass(frozen=True, eq=False)
class RunMasks:
    """The M masks of a picture.

    Attributes:
        counts: [R] uint32, run lengths of all masks, one after another.
        offsets: [M+1] int64; mask m has counts[offsets[m]:offsets[m+1]].
        size: height and width of the picture.
        scores: [M] float32, quality 0..1, descending.
    """

    counts: np.ndarray
    offsets: np.ndarray
    size: tuple[int, int]
    scores: np.ndarray

    @classmethod
    def of_runs(cls, runs: Sequence[np.ndarray], size: tuple[int, int], scores: np.ndarray) -> RunMasks:
        """From the run lengths [R] of each mask."""
        offsets = np.concatenate([[0], np.cumsum([len(r) for r in runs], dtype=np.int64)]).astype(np.int64)
        counts = np.concatenate([np.zeros(0, np.uint32), *runs]).astype(np.uint32)
        return cls(counts, offsets, size, np.asarray(scores, np.float32))

    @classmethod
    def of_arrays(cls, counts: np.ndarray, offsets: np.ndarray, size: np.ndarray, scores: np.ndarray) -> RunMasks:
        """From the arrays of a file.

        Raises:
            ValueError: if the arrays are inconsistent.
        """
        rising = offsets.ndim == 1 and len(offsets) and offsets[0] == 0 and (np.diff(offsets) >= 0).all()
        if not rising or offsets[-1] != len(counts) or size.shape != (2,) or scores.shape != (len(offsets) - 1,):
            raise ValueError("the run lengths do not fit their offsets")
        if counts.dtype != np.uint32 or (size < 1).any():
            raise ValueError("the run lengths are not integers, or the picture size is invalid")
        return cls(counts, offsets, (int(size[0]), int(size[1])), scores)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """[H,W] bool: one mask."""
        return decode(self.counts[self.offsets[index] : self.offsets[index + 1]], self.size)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def pictures(self) -> np.ndarray:
        """[M,H,W] bool: all masks at once."""
        out = np.zeros((len(self), *self.size), bool)
        for index in range(len(self)):
            out[index] = self[index]
        return out
