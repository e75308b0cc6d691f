"""Read and write the headerless `.splat` format: 32 bytes per Gaussian, no spherical harmonics.

Layout: center 3 x float32, scale 3 x float32 (linear), color r, g, b and opacity as bytes, quaternion w, x, y, z as
bytes (128 is zero, 256 would be one); little endian, axes as in PLY files.
Specified by the reader of K. Kwok's viewer "splat" (github.com/antimatter15/splat, README and convert.py), 2023.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..atomic_write import atomic_stream
from ..cloud import GaussianCloud
from ..files import bad_file, map_bytes
from ..loaded import Decoded, LoadedSplat, assemble
from .packing import BYTES, color_to_dc, dc_to_color, to_steps

ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("quat", "u1", 4)])
_LOOK = 4096  # rows to check for the format
_BLOCK = 65536


def looks_like_splat(path: Path) -> bool:
    """Whether a file can be of this format, which has no magic number: whole rows with usable first values."""
    data = map_bytes(path)
    if len(data) % ROW.itemsize:
        return False
    rows = data.view(ROW)[:_LOOK]
    length = np.linalg.norm(rows["quat"].astype(np.float32) - 128, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        fine = np.isfinite(rows["mean"]).all(1) & (np.abs(rows["mean"]) < 1e7).all(1)
        fine &= (np.abs(rows["scale"]) < 1e6).all(1) & (np.abs(length - 128) < 8)
    return bool(fine.mean() > 0.5)


def read_splat_file(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a `.splat` file. Rotations are accurate to half a degree, colors to 1/510.

    Raises:
        UserError: if the file is missing or has an incomplete row.
    """
    path = Path(path)
    data = map_bytes(path)
    if len(data) % ROW.itemsize:
        whole = len(data) - len(data) % ROW.itemsize
        raise bad_file(path, f"its last row of {ROW.itemsize} bytes is cut off", whole)
    rows = data.view(ROW)
    color = rows["color"]
    dc = color_to_dc(BYTES / 255).astype(np.float32)[color[:, :3]]
    opacities = (BYTES / 255).astype(np.float32)[color[:, 3]]
    quats = (BYTES - 128).astype(np.float32)[rows["quat"]]
    decoded = Decoded(np.array(rows["mean"]), quats, np.abs(rows["scale"]), opacities, dc[:, None])
    loaded = assemble(path, decoded, keep_invalid)
    return LoadedSplat(loaded.cloud, loaded.kept, loaded.warnings, "splat")


def write_splat_file(path: str | Path, cloud: GaussianCloud) -> tuple[str, ...]:
    """Write a `.splat` file.

    Returns:
        Sentences about data that the format cannot store.

    Raises:
        UserError: if the file cannot be written.
    """
    with atomic_stream(path) as stream:
        for start in range(0, len(cloud), _BLOCK):
            part = slice(start, start + _BLOCK)
            rows = np.empty(len(cloud.means[part]), ROW)
            rows["mean"], rows["scale"] = cloud.means[part], cloud.scales[part]
            rows["color"][:, :3] = to_steps(dc_to_color(cloud.sh[part, 0]), 255)
            rows["color"][:, 3] = to_steps(cloud.opacities[part], 255)
            rows["quat"] = np.clip(np.rint(cloud.quats[part] * 128) + 128, 0, 255)
            stream.write(rows.tobytes())
    losses = []
    if cloud.sh_degree:
        losses.append("A .splat file has no spherical harmonics: the colors no longer change with the view direction")
    beyond = int(np.count_nonzero((np.abs(dc_to_color(cloud.sh[:, 0]) - 0.5) > 0.5 + 1 / 255).any(1)))
    if beyond:
        losses.append(f"A .splat file stores base colors from 0 to 1: those of {beyond:,} Gaussians were clipped")
    return tuple(losses)
