"""Small pictures of a mask: for CLIP without its surroundings, for people with dimmed surroundings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

_MARGIN = 0.1  # of the longer side, around the mask
THUMBNAIL = 96
"""Width and height of the pictures for people, pixels."""
_DIMMED = 0.3


def masked_crops(rgb: np.ndarray, masks: Iterable[np.ndarray], side: int) -> np.ndarray:
    """[M,side,side,3] uint8: the square around each mask, black outside the mask (SAGA appendix A.3: I times M).

    SAGA's text feeds the whole masked picture. Here, as in its code, only the square around the mask is used: CLIP's
    input is small, and a distant cup would cover only two of its patches.

    Args:
        rgb: [H,W,3] float, 0..1.
        masks: [H,W] bool each, none empty.
        side: pixels.
    """
    parts = [_resize(_square(rgb, mask, 0.0), side) for mask in masks]
    return np.stack(parts) if parts else np.zeros((0, side, side, 3), np.uint8)


def thumbnail(rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """[THUMBNAIL,THUMBNAIL,3] uint8: the square around a mask [H,W], dimmed outside the mask."""
    return _resize(_square(rgb, mask, _DIMMED), THUMBNAIL)


def _square(rgb: np.ndarray, mask: np.ndarray, outside: float) -> np.ndarray:
    """[S,S,3] float: the square around the mask, black beyond the edge of the picture."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
    side = max(1, round(max(height, width) * (1 + 2 * _MARGIN)))
    top, left = top - (side - height) // 2, left - (side - width) // 2
    out = np.zeros((side, side, 3), np.float32)
    here = slice(max(top, 0), max(top + side, 0)), slice(max(left, 0), max(left + side, 0))
    part = rgb[here] * np.where(mask[here], 1.0, outside)[..., None]
    y, x = max(-top, 0), max(-left, 0)
    out[y : y + part.shape[0], x : x + part.shape[1]] = part
    return out


def _resize(picture: np.ndarray, side: int) -> np.ndarray:
    whole = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(whole.resize((side, side), Image.Resampling.BICUBIC))
