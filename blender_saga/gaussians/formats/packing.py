"""Packing that several formats share: quaternions without their largest component, colors as bytes."""

from __future__ import annotations

import numpy as np

from ..sh import C0

BYTES = np.arange(256)
"""Every value of a byte, for lookup tables."""

_HALF_ROOT = np.sqrt(0.5)  # bound of the second largest component of a unit quaternion


def join_largest(parts: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Restore the omitted largest component, which is positive, from the unit length.

    Args:
        parts: [N,3] the other components in order.
        largest: [N] index of the omitted component, 0 to 3.

    Returns:
        [N,4] float32.
    """
    parts = np.asarray(parts, np.float32)
    out = np.empty((len(parts), 4), np.float32)
    rest = np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", parts, parts)))
    for i in range(4):
        before, after = parts[:, min(i, 2)], parts[:, max(i - 1, 0)]
        out[:, i] = np.where(i == largest, rest, np.where(i < largest, before, after))
    return out


def split_largest(quats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make the largest component positive and omit it.

    Args:
        quats: [N,4] unit quaternions.

    Returns:
        The other components [N,3] in order, within +-sqrt(1/2), and the index [N] of the largest.
    """
    largest = np.argmax(np.abs(quats), axis=1)
    rows = np.arange(len(quats))
    signed = quats * np.where(quats[rows, largest] < 0, -1, 1)[:, None].astype(quats.dtype)
    others = np.arange(3)[None, :] + (np.arange(3)[None, :] >= largest[:, None])
    return np.clip(signed[rows[:, None], others], -_HALF_ROOT, _HALF_ROOT), largest


def color_to_dc(color: np.ndarray) -> np.ndarray:
    """DC coefficients of base colors; 0..1 is the displayable range."""
    return (color - 0.5) / C0


def dc_to_color(dc: np.ndarray) -> np.ndarray:
    """Base colors of DC coefficients, without clipping to 0..1."""
    return 0.5 + C0 * dc


def to_steps(values: np.ndarray, steps: int) -> np.ndarray:
    """Quantize 0..1 to integers 0..steps (as float64), rounded and clipped."""
    return np.clip(np.rint(np.asarray(values, np.float64) * steps), 0, steps)
