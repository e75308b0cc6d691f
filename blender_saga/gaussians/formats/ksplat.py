"""Read `.ksplat` files of the viewer GaussianSplats3D.

Layout: a header of 4096 bytes (version, counts, compression level), a header of 1024 bytes for each section, then the
sections: lengths of partially filled buckets, centers of buckets, rows. A row has center, scale (linear), rotation
(w, x, y, z), color and opacity as bytes, and harmonics by band, each with all red, all green, then all blue values.
Level 0 uses float32; level 1 uses 16-bit centers relative to the bucket and half precision; level 2 is like 1 with
harmonics as bytes between the bounds of the header. Axes as in PLY files.
Specified by the reader of that viewer (github.com/mkkellogg/GaussianSplats3D, SplatBuffer), MIT, 2023 to 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ErrorCode, UserError
from ..cloud import SH_COEFFICIENTS
from ..files import bad_file, map_bytes
from ..loaded import Decoded, LoadedSplat, assemble
from .packing import BYTES, color_to_dc

_HEADER, _SECTION = 4096, 1024
_DEGREES = (0, 1, 2, 3)
_DEFAULT_BOUND = 1.5  # bound of byte harmonics if the header has none


@dataclass(frozen=True)
class _Header:
    """The file header; `sections` is the number of section headers, including unused ones."""

    version: str
    sections: int
    count: int
    level: int
    low: float
    high: float


@dataclass(frozen=True)
class _Section:
    """One section: numbers of Gaussians and buckets, and byte offsets of its parts."""

    count: int
    bucket_size: int
    buckets: int
    block: float
    range: int
    full: int
    partial: int
    degree: int
    start: int
    centers: int
    rows: int
    end: int


def looks_like_ksplat(path: Path) -> bool:
    """Whether a file has the header of this format, which has no magic number."""
    data = map_bytes(path)
    if len(data) < _HEADER + _SECTION or data[0] != 0 or not 1 <= data[1] < 16:
        return False
    sections, level = (int(np.frombuffer(data[a:b], kind)[0]) for a, b, kind in ((4, 8, "<u4"), (20, 22, "<u2")))
    return level <= 2 and 0 < sections <= (len(data) - _HEADER) // _SECTION and not data[48:_HEADER].any()


def read_ksplat(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a `.ksplat` file.

    Raises:
        UserError: if the file is missing or truncated, has an unknown version, or its sections are inconsistent.
    """
    path = Path(path)
    data = map_bytes(path)
    header = _read_header(path, data)
    sections, start = [], _HEADER + _SECTION * header.sections
    for index in range(header.sections):
        section = _read_section(path, data, header, index, start)
        sections.append(section)
        start = section.end
    sections = [section for section in sections if section.count]
    total = sum(section.count for section in sections)
    if total == 0:
        raise UserError(
            f"The file {path.name} has no Gaussians",
            "its sections count 0",
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    k = SH_COEFFICIENTS[max(section.degree for section in sections)]
    parts = [_decode(data, header, section, k) for section in sections]
    columns = [np.concatenate(column) for column in zip(*(part.columns() for part in parts), strict=True)]
    loaded = assemble(path, Decoded(*columns), keep_invalid)
    warnings = loaded.warnings
    if total != header.count:
        warnings += (f"The header declares {header.count} Gaussians, but the sections have {total}",)
    return LoadedSplat(loaded.cloud, loaded.kept, warnings, "ksplat", header.version)


def _read_header(path: Path, data: np.ndarray) -> _Header:
    if len(data) < _HEADER:
        raise bad_file(path, f"its header of {_HEADER} bytes is cut off", len(data))
    major, minor = int(data[0]), int(data[1])
    if major != 0 or minor < 1:
        raise bad_file(path, f"ksplat version {major}.{minor} is not supported", 0)
    numbers = data[:48].view("<u4")
    level = int(data[20:22].view("<u2")[0])
    if level > 2:
        raise bad_file(path, f"compression level {level} is not supported", 20)
    sections = int(numbers[1])
    if not 0 < sections <= (len(data) - _HEADER) // _SECTION:
        raise bad_file(path, f"the headers of {sections} sections do not fit into the file", 4)
    low, high = (float(value) for value in data[36:44].view("<f4"))
    return _Header(f"{major}.{minor}", sections, int(numbers[4]), level, low or -_DEFAULT_BOUND, high or _DEFAULT_BOUND)


def _read_section(path: Path, data: np.ndarray, header: _Header, index: int, start: int) -> _Section:
    place = _HEADER + _SECTION * index
    block = data[place : place + _SECTION]
    whole = [int(value) for value in block[:48].view("<u4")]
    count, most, bucket_size, buckets = whole[:4]
    size = float(block[16:20].view("<f4")[0])
    storage, degree = (int(block[at : at + 2].view("<u2")[0]) for at in (20, 40))
    if degree not in _DEGREES:
        raise bad_file(path, f"spherical harmonics of degree {degree} are not supported", place + 40)
    if count > most or (buckets and storage < 12):
        raise bad_file(path, f"the counts of section {index} are inconsistent", place)
    partial = whole[9]
    centers = start + 4 * partial
    rows = centers + storage * buckets
    end = rows + most * _row_type(header.level, degree).itemsize
    if rows + count * _row_type(header.level, degree).itemsize > len(data):
        why = f"section {index} should have {count} Gaussians, but the file ends at byte {len(data)}"
        raise bad_file(path, why, place)
    section = _Section(
        count, bucket_size, buckets, size, whole[6] or 32767, whole[8], partial, degree, start, centers, rows, end
    )
    if header.level and count:
        _check_buckets(path, section, place, storage)
    return section


def _check_buckets(path: Path, section: _Section, place: int, storage: int) -> None:
    if storage != 12 or section.full + section.partial > section.buckets:
        raise bad_file(path, "its buckets are inconsistent", place + 8)


def _row_type(level: int, degree: int) -> np.dtype:
    """The type of one packed row."""
    center, number = ("<f4", "<f4") if level == 0 else ("<u2", "<f2")
    harmonic = (number, number, "u1")[level]
    rest = 3 * (SH_COEFFICIENTS[degree] - 1)
    fields = [("mean", center, 3), ("scale", number, 3), ("quat", number, 4), ("color", "u1", 4)]
    return np.dtype([*fields, ("sh", harmonic, rest)])


def _decode(data: np.ndarray, header: _Header, section: _Section, k: int) -> Decoded:
    kind = _row_type(header.level, section.degree)
    rows = data[section.rows : section.rows + section.count * kind.itemsize].view(kind)
    sh = np.zeros((len(rows), k, 3), np.float32)
    sh[:, 0] = color_to_dc(BYTES / 255).astype(np.float32)[rows["color"][:, :3]]
    values = rows["sh"].astype(np.float32)
    if header.level == 2:
        values = np.float32(header.low) + values * np.float32((header.high - header.low) / 255)
    for degree in range(1, section.degree + 1):
        first, last = degree**2, (degree + 1) ** 2
        band = values[:, 3 * (first - 1) : 3 * (last - 1)].reshape(len(rows), 3, last - first)
        sh[:, first:last] = band.transpose(0, 2, 1)
    return Decoded(
        _means(data, header, section, rows),
        rows["quat"].astype(np.float32),
        np.abs(rows["scale"].astype(np.float32)),
        (BYTES / 255).astype(np.float32)[rows["color"][:, 3]],
        sh,
    )


def _means(data: np.ndarray, header: _Header, section: _Section, rows: np.ndarray) -> np.ndarray:
    if header.level == 0:
        return rows["mean"].astype(np.float32)
    lengths = data[section.start : section.centers].view("<u4")
    edges = section.full * section.bucket_size + np.cumsum(lengths, dtype=np.int64)
    index = np.arange(len(rows))
    inside = index // max(section.bucket_size, 1)
    beyond = section.full + np.searchsorted(edges, index, side="right")
    owner = np.where(index < section.full * section.bucket_size, inside, beyond)
    centers = data[section.centers : section.centers + 12 * section.buckets].view("<f4").reshape(-1, 3)
    centers = np.concatenate([centers, np.full((1, 3), np.nan, np.float32)])  # drops rows beyond all buckets
    owner = np.minimum(owner, len(centers) - 1)
    step = np.float32(section.block / 2 / section.range)
    return (rows["mean"].astype(np.float32) - np.float32(section.range)) * step + centers[owner]
