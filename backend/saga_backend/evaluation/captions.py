"""Captions of the parts of the standard synthetic scene: "red box", "blue sphere", "gray knob"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0

from ..common.cie_lab import srgb_to_lab

PALETTE = {
    "red": (0.85, 0.20, 0.20),
    "orange": (0.90, 0.55, 0.20),
    "yellow": (0.85, 0.85, 0.25),
    "green": (0.30, 0.75, 0.30),
    "cyan": (0.25, 0.80, 0.80),
    "blue": (0.25, 0.35, 0.85),
    "purple": (0.55, 0.25, 0.75),
    "pink": (0.85, 0.45, 0.75),
    "brown": (0.45, 0.28, 0.15),
    "gray": (0.50, 0.50, 0.50),
}
"""Color names and a typical color of each, sRGB 0..1."""
SHAPES = ("box", "sphere", "knob")
"""The shapes of an object's parts, in the order of the parts."""
COLORS = tuple(PALETTE)


def color_names(rgb: np.ndarray) -> list[str]:
    """The names of the nearest palette colors, by distance in CIE Lab.

    Args:
        rgb: [M,3], sRGB 0..1.
    """
    palette = srgb_to_lab(np.array(list(PALETTE.values())))
    lab = srgb_to_lab(np.asarray(rgb, np.float64).reshape(-1, 3))
    return [COLORS[i] for i in np.linalg.norm(lab[:, None] - palette[None], axis=2).argmin(axis=1)]


def part_colors(cloud: GaussianCloud, parts: np.ndarray) -> np.ndarray:
    """[P,3] mean sRGB of the Gaussians of part 1, 2 ... P.

    Args:
        cloud: the scene.
        parts: [N] int, the part of every Gaussian, 0 = none.
    """
    rgb = 0.5 + C0 * cloud.sh[:, 0]
    number = np.bincount(parts)[1:]
    return np.stack([np.bincount(parts, rgb[:, c])[1:] for c in range(3)], axis=1) / np.maximum(number, 1)[:, None]


def shape_of(part: int) -> str:
    """The shape of part 1, 2 ... of the standard scene."""
    return SHAPES[(part - 1) % len(SHAPES)]


def caption(color: str, shape: str) -> str:
    """ "red box"."""
    return f"{color} {shape}"


def composite(parts: Sequence[str]) -> str:
    """The caption of a mask with several parts: "red box with blue sphere and gray knob"."""
    return parts[0] if len(parts) < 2 else f"{parts[0]} with {' and '.join(parts[1:])}"


def scene_captions(cloud: GaussianCloud, parts: np.ndarray) -> dict[int, str]:
    """The caption of every part of a standard scene, by label. Several parts can have the same caption."""
    names = color_names(part_colors(cloud, parts))
    return {part: caption(name, shape_of(part)) for part, name in enumerate(names, start=1)}


def vocabulary() -> list[str]:
    """All captions that a part can have."""
    return [caption(color, shape) for shape in SHAPES for color in COLORS]
