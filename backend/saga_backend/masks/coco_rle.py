"""COCO's run lengths, plain and as a compressed string: the usual form of masks in JSON.

Runs alternate, starting with 0, in column-major order. In a string, each number is a sequence of 5-bit groups, lowest
first, plus 48 to be printable; bit 32 marks a following group, and bit 16 of the last group is the sign. From the third
number on, the string holds the difference to the number two positions earlier (pycocotools, maskApi.c).
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
    # Check each run: a 64-bit sum can wrap around, and numpy would repeat negative or oversized runs out of bounds.
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"the runs have {int(runs.sum())} pixels, the picture is {height} x {width}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def uncompress(text: str) -> list[int]:
    """The run lengths of a compressed string.

    Raises:
        ValueError: if the string ends within a number or has invalid characters.
    """
    numbers: list[int] = []
    value = shift = 0
    for code in text.encode("utf-8"):
        group = code - 48
        if not 0 <= group < 64:
            raise ValueError("a character is not valid in run lengths")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the run lengths end early")
    return numbers
