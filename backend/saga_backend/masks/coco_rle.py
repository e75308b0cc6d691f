"""COCO's run lengths, plain and as a compressed string: how segmenters write masks into JSON.

Runs alternate, first of 0; pixels run down the columns. In a string each number is written in groups of 5 bits, the
lowest first, 48 added to make it printable; bit 32 says that another group follows, bit 16 of the last one is the
sign. From the third number on, what is written is the difference to the number two before (pycocotools, maskApi.c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .run_lengths import check_size


def decode(height: int, width: int, counts: str | Sequence[int]) -> np.ndarray:
    """[H,W] bool mask of COCO run lengths.

    Raises:
        ValueError: if the runs do not fill the picture exactly.
    """
    runs = np.asarray(uncompress(counts) if isinstance(counts, str) else counts, dtype=np.int64).reshape(-1)
    check_size(height, width)
    # Each for itself: a sum of 64 bits wraps around, and numpy repeats what is negative or too long out of bounds.
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"runs of {int(runs.sum())} pixels in a picture of {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def uncompress(text: str) -> list[int]:
    """The run lengths in a compressed string.

    Raises:
        ValueError: if the string ends within a number or has characters that no encoder writes.
    """
    numbers: list[int] = []
    value = shift = 0
    for code in text.encode("utf-8"):
        group = code - 48
        if not 0 <= group < 64:
            raise ValueError("a character that is not part of run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the run lengths end too early")
    return numbers
