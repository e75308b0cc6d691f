"""Write PlayCanvas compressed PLY; `compressed_ply` describes the layout.

The writer sorts Gaussians along a Z-order curve, because each 256 of them share their bounds. The file thus has another
order than the cloud. Rounding errors: centers and log scales 1/4094 (second axis: 1/2046) of the chunk's
extent, rotation 0.1 degree, colors 1/510 of the chunk's range, opacity 1/510, harmonics 1/64 within +-4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..atomic_write import atomic_stream
from ..cloud import GaussianCloud
from ..ply import log_scales
from .compressed_ply import CHUNK, COLORS, PLACES, SCALES, WORDS
from .packing import dc_to_color, split_largest, to_steps

_HIGHEST_DEGREE = 3  # viewers of this format read no higher degree
_LOG_SCALE = 20.0  # limit of a log scale, so that a scale of zero does not stretch its chunk


def write_compressed_ply(path: str | Path, cloud: GaussianCloud) -> tuple[str, ...]:
    """Write a compressed PLY.

    Returns:
        Sentences about data that the format cannot store.

    Raises:
        UserError: if the file cannot be written.
    """
    losses = []
    if cloud.sh_degree > _HIGHEST_DEGREE:
        losses.append("A compressed PLY stores spherical harmonics up to degree 3: those of degree 4 were left out")
        cloud = cloud.with_degree(_HIGHEST_DEGREE)
    beyond = int(np.count_nonzero(np.abs(cloud.sh[:, 1:]) > 4))
    if beyond:
        losses.append(f"A compressed PLY stores harmonics from -4 to 4: {beyond:,} values were clipped")
    cloud = cloud.take(z_order(cloud.means))
    chunks, words, harmonics = _encode(cloud)
    with atomic_stream(path) as stream:
        stream.write(_header(len(chunks), len(words), harmonics.shape[1]))
        for part in (chunks, words, harmonics):
            stream.write(part.tobytes())
    return tuple(losses)


def z_order(means: np.ndarray) -> np.ndarray:
    """[N] indices that sort points along a Z-order curve in their bounding box, 21 bits per axis."""
    low, high = means.min(0).astype(np.float64), means.max(0).astype(np.float64)
    cells = ((means - low) / np.maximum(high - low, 1e-30) * (2**21 - 1)).astype(np.uint64)
    code = np.zeros(len(means), np.uint64)
    for axis in range(3):
        code |= _spread(cells[:, axis]) << np.uint64(axis)
    return np.argsort(code, kind="stable")


def _spread(bits: np.ndarray) -> np.ndarray:
    """Spread 21 bits of each number to every third bit (Morton interleaving with masks)."""
    masks = (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    )
    for shift, mask in masks:
        bits = (bits | bits << np.uint64(shift)) & np.uint64(mask)
    return bits


def _encode(cloud: GaussianCloud) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds [chunks,18] float32, words [N,4] uint32, harmonics [N,3(K-1)] uint8."""
    n, k = cloud.sh.shape[:2]
    means, means_share = _bounded(cloud.means)
    scales, scales_share = _bounded(np.clip(log_scales(cloud.scales), -_LOG_SCALE, _LOG_SCALE).astype(np.float32))
    colors, colors_share = _bounded(dc_to_color(cloud.sh[:, 0]))
    shades = np.concatenate([colors_share, cloud.opacities[:, None]], axis=1)
    words = np.empty((n, 4), "<u4")
    words[:, 0], words[:, 2] = _thirds(means_share), _thirds(scales_share)
    words[:, 1] = _turns(cloud.quats)
    words[:, 3] = to_steps(shades, 255).astype(np.uint32) @ (1 << np.array([24, 16, 8, 0], np.uint32))
    raw = np.clip(np.floor((cloud.sh[:, 1:] / 8 + 0.5) * 256), 0, 255).astype(np.uint8)
    harmonics = np.ascontiguousarray(raw.transpose(0, 2, 1)).reshape(n, 3 * (k - 1))
    return np.concatenate([means, scales, colors], axis=1).astype("<f4"), words, harmonics


def _bounded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds [chunks,6] float32 of values [N,3], low then high, and the positions [N,3] between them, 0 to 1."""
    starts = np.arange(0, len(values), CHUNK)
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    low, high = low.astype(np.float32), high.astype(np.float32)
    owner = np.arange(len(values)) // CHUNK
    width = (high.astype(np.float64) - low)[owner]
    share = np.divide(values - low[owner].astype(np.float64), width, out=np.zeros(values.shape), where=width > 0)
    return np.concatenate([low, high], axis=1), share


def _thirds(share: np.ndarray) -> np.ndarray:
    x, y, z = (to_steps(share[:, i], steps).astype(np.uint32) for i, steps in enumerate((2047, 1023, 2047)))
    return x << 21 | y << 11 | z


def _turns(quats: np.ndarray) -> np.ndarray:
    parts, largest = split_largest(quats)
    fields = to_steps(parts * np.sqrt(0.5) + 0.5, 1023).astype(np.uint32)
    return largest.astype(np.uint32) << 30 | fields[:, 0] << 20 | fields[:, 1] << 10 | fields[:, 2]


def _header(chunks: int, count: int, harmonics: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", "comment Blender SAGA", f"element chunk {chunks}"]
    lines += [f"property float {name}" for name in PLACES + SCALES + COLORS]
    lines += [f"element vertex {count}", *(f"property uint {name}" for name in WORDS)]
    if harmonics:
        lines += [f"element sh {count}", *(f"property uchar f_rest_{i}" for i in range(harmonics))]
    return "\n".join([*lines, "end_header\n"]).encode("ascii")
