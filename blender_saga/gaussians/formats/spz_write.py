"""Write SPZ version 3 (gzip) and, with zstd, version 4; `spz` describes the layout.

Rounding errors: centers 2^-(bits + 1) of a unit, with as many bits as the scene's size allows; logarithms of scales
1/32; opacity 1/510; rotation 0.1 degree; DC coefficients 0.013 within +-3.3; harmonics 1/256 within +-1.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ErrorCode, UserError
from ..atomic_write import atomic_stream
from ..axes import change_axes
from ..cloud import GaussianCloud
from ..files import zstd
from ..ply import log_scales
from .packing import split_largest, to_steps
from .spz import AXES, COLOR_SCALE, MAGIC

_MOST_BITS = 16  # fractional bits; 16 is finer than any capture
_LARGEST = (1 << 23) - 1
_LEVEL = 6  # of gzip
_MOST_DC = 0.5 / COLOR_SCALE + 0.02  # plus a tolerance for rounding


def write_spz(path: str | Path, cloud: GaussianCloud, version: int = 3) -> tuple[str, ...]:
    """Write an SPZ file.

    Args:
        path: output file.
        cloud: N Gaussians in the axes of PLY files; SH degree 0 to 4.
        version: 3 or 4.

    Returns:
        Sentences about data that the format cannot store.

    Raises:
        UserError: if coordinates exceed 8 million units, version 4 lacks zstd, or the file cannot be written.
    """
    engine: Any = zstd() if version == 4 else None
    if version == 4 and engine is None:
        raise UserError(
            "SPZ version 4 cannot be written", "this Python has no zstd", "Choose version 3", code=ErrorCode.MISSING
        )
    cloud = change_axes(cloud, "RDF", AXES)
    bits = _fraction_bits(cloud.means)
    parts = [np.ascontiguousarray(part).tobytes() for part in _encode(cloud, bits)]
    head = struct.pack("<4s2I3B", MAGIC, version, len(cloud), cloud.sh_degree, bits, 0)
    with atomic_stream(path) as stream:
        if version == 4:
            filled = [part for part in parts if part]
            packed = [engine.compress(part) for part in filled]
            stream.write(head + struct.pack("<BI12x", len(packed), 32))
            for part, short in zip(filled, packed, strict=True):
                stream.write(struct.pack("<2Q", len(short), len(part)))
            stream.writelines(packed)
        else:
            squeeze = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
            stream.write(squeeze.compress(head + b"\0"))
            for part in parts:
                stream.write(squeeze.compress(part))
            stream.write(squeeze.flush())
    return _losses(cloud)


def _fraction_bits(means: np.ndarray) -> int:
    """The fractional bits that the largest coordinate leaves of 24 bits."""
    largest = float(np.abs(means).max())
    if not np.isfinite(largest) or largest > _LARGEST:
        why = f"its coordinates reach {largest:.3g}, and SPZ is limited to 8,388,607"
        raise UserError("The splat cannot be written as SPZ", why, "Scale it down, or export a PLY")
    return int(np.clip(np.floor(np.log2(_LARGEST / max(largest, 1e-30))), 0, _MOST_BITS))


def _encode(cloud: GaussianCloud, bits: int) -> list[np.ndarray]:
    """Encode the six parts, in the order of the file."""
    fixed = np.rint(cloud.means.astype(np.float64) * 2**bits).astype("<i4")
    places = fixed.reshape(-1, 1).view(np.uint8)[:, :3]
    alphas = to_steps(cloud.opacities, 255).astype(np.uint8)
    colors = to_steps(cloud.sh[:, 0] * COLOR_SCALE + 0.5, 255).astype(np.uint8)
    scales = np.clip(np.rint((log_scales(cloud.scales) + 10) * 16), 0, 255).astype(np.uint8)
    sh = np.clip(np.rint(cloud.sh[:, 1:] * 128) + 128, 0, 255).astype(np.uint8)
    return [places, alphas, colors, scales, _turns(cloud.quats), sh]


def _turns(quats: np.ndarray) -> np.ndarray:
    """[N] words: the index of the largest of x, y, z, w, then 3 x (sign, 9 bits)."""
    parts, largest = split_largest(quats[:, [1, 2, 3, 0]])
    sizes = np.rint(np.abs(parts) * (511 / np.sqrt(0.5))).astype(np.uint32)
    fields = sizes | np.where(parts < 0, 512, 0).astype(np.uint32)
    word = largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]
    return word.astype("<u4")


def _losses(cloud: GaussianCloud) -> tuple[str, ...]:
    losses = []
    beyond = int(np.count_nonzero(np.abs(cloud.sh[:, 1:]) > 1))
    if beyond:
        losses.append(f"SPZ stores harmonics from -1 to 1: {beyond:,} of {cloud.sh[:, 1:].size:,} values were clipped")
    bright = int(np.count_nonzero((np.abs(cloud.sh[:, 0]) > _MOST_DC).any(1)))
    if bright:
        losses.append(f"SPZ stores base colors from -0.44 to 1.44: those of {bright:,} Gaussians were clipped")
    logs = log_scales(cloud.scales)
    outside = int(np.count_nonzero((logs < -10 - 1 / 32).any(1) | (logs > 5.96875).any(1)))
    if outside:
        losses.append(f"SPZ stores scales from 0.000045 to 380 units: those of {outside:,} Gaussians were clipped")
    return tuple(losses)
