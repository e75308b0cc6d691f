"""Read PlayCanvas compressed PLY; `compressed_ply_write` writes it.

The format has three elements in a little-endian PLY. `chunk`: for each 256 Gaussians, the bounds of centers and log
scales, and of base colors with newer writers. `vertex`: four words per Gaussian: center and scale as 11, 10, 11 bits
within the bounds; rotation as the index of the largest component (2 bits, order w, x, y, z) and 3 x 10 bits within
+-sqrt(1/2); color and opacity as bytes. `sh`, optional: one byte for each `f_rest` of the INRIA layout.
Specified by PlayCanvas: developer.playcanvas.com, "Gaussian Splatting > Formats > Compressed PLY", and its public
converter splat-transform (MIT).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import ErrorCode, UserError
from ..cloud import SH_COEFFICIENTS
from ..files import bad_file, unreadable
from ..loaded import Decoded, LoadedSplat, assemble
from ..ply_header import Element, Header, read_header
from .packing import BYTES, color_to_dc, join_largest

CHUNK = 256
"""Gaussians per chunk, which share their bounds."""

PLACES = tuple(f"{end}_{axis}" for end in ("min", "max") for axis in "xyz")
SCALES = tuple(f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz")
COLORS = tuple(f"{end}_{channel}" for end in ("min", "max") for channel in "rgb")
"""Names of the bounds in a chunk; the colors are optional."""

WORDS = ("packed_position", "packed_rotation", "packed_scale", "packed_color")


def is_compressed(header: Header) -> bool:
    """Whether a PLY header declares this format."""
    return "chunk" in header.elements and "packed_position" in header.vertex.names


def read_compressed_ply(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a compressed PLY.

    Raises:
        UserError: if the file is missing or truncated, or its elements are inconsistent.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            header = read_header(stream, path)
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
    names = [name for name in ("chunk", "vertex", "sh") if name in header.elements]
    _check(path, header)
    chunks, words, *harmonics = (_rows(path, header.elements[name], size) for name in names)
    decoded = _decode(chunks, words, harmonics[0] if harmonics else None)
    loaded = assemble(path, decoded, keep_invalid)
    return LoadedSplat(loaded.cloud, loaded.kept, loaded.warnings, "compressed-ply", "1.0")


def _check(path: Path, header: Header) -> None:
    chunk, vertex, sh = (header.elements.get(name) for name in ("chunk", "vertex", "sh"))
    if header.ascii or chunk is None or vertex is None:
        raise bad_file(path, "a compressed PLY must be binary and have chunks")
    if vertex.count == 0:
        raise UserError(
            f"The file {path.name} has no Gaussians",
            "its header declares 0 vertices",
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    for element, wanted, kind in ((chunk, PLACES + SCALES, "f4"), (vertex, WORDS, "u4")):
        missing = [name for name in wanted if (name, kind) not in element.properties]
        if missing:
            raise bad_file(path, f"its element {element.name} lacks {', '.join(missing)}")
    if chunk.count != -(-vertex.count // CHUNK):
        raise bad_file(path, f"it has {chunk.count} chunks, which does not match its {vertex.count} Gaussians")
    if sh is None:
        return
    allowed = [3 * (k - 1) for k in SH_COEFFICIENTS[1:]]
    properties = [(f"f_rest_{i}", "u1") for i in range(len(sh.properties))]
    if sh.count != vertex.count or len(properties) not in allowed or sh.properties != properties:
        raise bad_file(
            path, f"its element sh ({sh.count} x {len(properties)}) does not match its {vertex.count} Gaussians"
        )


def _rows(path: Path, element: Element, size: int) -> np.ndarray:
    """[count] structured rows of an element, mapped from the file."""
    if element.start < 0 or element.has_list:
        raise bad_file(path, f"its element {element.name} has a list, or follows one")
    there = max(0, size - element.start) // element.dtype.itemsize
    if there < element.count:
        why = f"element {element.name} should have {element.count} rows, but has {there}; the file ends at byte {size}"
        raise bad_file(path, why, element.start)
    return np.memmap(path, element.dtype, "r", offset=element.start, shape=(element.count,))


def _decode(chunks: np.ndarray, words: np.ndarray, harmonics: np.ndarray | None) -> Decoded:
    n = len(words)
    k = 1 if harmonics is None else 1 + harmonics.dtype.itemsize // 3
    sh = np.empty((n, k, 3), np.float32)
    color = _bytes(words["packed_color"])
    base = color[:, :3] / np.float32(255)
    if set(COLORS) <= set(chunks.dtype.names or ()):
        base = _between(chunks, COLORS, base)
    sh[:, 0] = color_to_dc(base)
    if harmonics is not None:
        table = np.where(BYTES == 0, 0, np.where(BYTES == 255, 1, (BYTES + 0.5) / 256))
        raw = harmonics.view(np.uint8).reshape(n, 3, k - 1)
        sh[:, 1:] = ((table - 0.5) * 8).astype(np.float32)[raw].transpose(0, 2, 1)
    with np.errstate(over="ignore"):  # a scale beyond float32 becomes infinite, which drops its row
        scales = np.exp(_between(chunks, SCALES, _thirds(words["packed_scale"])))
    return Decoded(
        _between(chunks, PLACES, _thirds(words["packed_position"])),
        _turns(words["packed_rotation"]),
        scales,
        (BYTES / 255).astype(np.float32)[color[:, 3]],
        sh,
    )


def _between(chunks: np.ndarray, names: tuple[str, ...], share: np.ndarray) -> np.ndarray:
    """[N,3] float32: linear interpolation by `share` [N,3] (0..1) between the bounds of each row's chunk."""
    out = np.empty(share.shape, np.float32)
    owner = np.arange(len(share)) // CHUNK
    with np.errstate(invalid="ignore", over="ignore"):
        for axis in range(3):
            low, high = (chunks[names[axis + end]].astype(np.float32)[owner] for end in (0, 3))
            out[:, axis] = low * (1 - share[:, axis]) + high * share[:, axis]
    return out


def _thirds(words: np.ndarray) -> np.ndarray:
    """[N,3] float32, 0..1, from 11, 10 and 11 bits, highest first."""
    fields = (words >> 21, words >> 11 & 1023, words & 2047)
    return np.stack([f / np.float32(m) for f, m in zip(fields, (2047, 1023, 2047), strict=True)], axis=1)


def _bytes(words: np.ndarray) -> np.ndarray:
    """[N,4] uint8, highest byte first."""
    return np.ascontiguousarray(words, ">u4").view(np.uint8).reshape(-1, 4)


def _turns(words: np.ndarray) -> np.ndarray:
    """[N,4] quaternions w, x, y, z."""
    fields = np.stack([words >> 20, words >> 10, words], axis=1) & 1023
    parts = (fields / np.float32(1023) - np.float32(0.5)) * np.float32(np.sqrt(2))
    return join_largest(parts, (words >> 30).astype(np.int8))
