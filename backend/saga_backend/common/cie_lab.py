"""CIE 1976 L*a*b*: colors in which a distance is about as large as it looks."""

from __future__ import annotations

import numpy as np

_TO_XYZ = np.array([
    [0.412453, 0.357580, 0.180423],
    [0.212671, 0.715160, 0.072169],
    [0.019334, 0.119193, 0.950227],
])  # fmt: skip
"""Linear sRGB to CIE XYZ (ITU-R BT.709 primaries)."""
_WHITE = np.array([0.95047, 1.0, 1.08883])
"""Daylight, D65, for the observer of 2 degrees."""


def srgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """[...,3] L* (0..100), a*, b* of sRGB colors [...,3] float, 0..1; computed in the precision of `rgb`."""
    rgb = np.asarray(rgb)
    linear = np.where(rgb > 0.04045, ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ _TO_XYZ.T.astype(rgb.dtype) / _WHITE.astype(rgb.dtype)
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
