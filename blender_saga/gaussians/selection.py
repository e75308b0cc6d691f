"""Selections: masks of Gaussians as packed bits, and the combination of two selections."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class SelectMode(StrEnum):
    """The effect of a click on the current selection."""

    set = "set"
    add = "add"
    subtract = "subtract"
    intersect = "intersect"


def pack(mask: np.ndarray) -> np.ndarray:
    """Pack [N] bool into [ceil(N/8)] uint8, the first Gaussian in the highest bit."""
    return np.packbits(np.asarray(mask, bool))


def unpack(bits: np.ndarray, n: int) -> np.ndarray:
    """The inverse of `pack`: [n] bool.

    Raises:
        ValueError: if the size does not match n Gaussians.
    """
    bits = np.asarray(bits, np.uint8)
    if bits.shape != ((n + 7) // 8,):
        raise ValueError(f"{n} Gaussians need {(n + 7) // 8} bytes of selection, not {bits.shape}")
    return np.unpackbits(bits, count=n).view(bool)


def combine(old: np.ndarray, new: np.ndarray, mode: SelectMode | str) -> np.ndarray:
    """The selection after a click.

    Args:
        old, new: [N] bool.
        mode: set (only new), add, subtract (old without new), or intersect.

    Returns:
        [N] bool, a new array.

    Raises:
        ValueError: for an unknown mode or masks of different length.
    """
    old, new, mode = np.asarray(old, bool), np.asarray(new, bool), SelectMode(mode)
    if old.shape != new.shape:
        raise ValueError(f"selections of {old.shape} and {new.shape} Gaussians cannot be combined")
    match mode:
        case SelectMode.set:
            return new.copy()
        case SelectMode.add:
            return old | new
        case SelectMode.subtract:
            return old & ~new
        case SelectMode.intersect:
            return old & new
