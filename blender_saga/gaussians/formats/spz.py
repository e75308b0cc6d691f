"""Read SPZ files, versions 1 to 4; `spz_write` writes them.

Versions 1 to 3 are one gzip stream: a header of 16 bytes, then positions, opacities, colors, scales, rotations and
spherical harmonics, each for all Gaussians. Version 4 has a plain header of 32 bytes, extension records, a table of
sizes, and one zstd stream for each of the six parts. Axes are RUB unless an extension names others.
Specified by the README and the extensions' README of Niantic's library (github.com/nianticlabs/spz), 2024 to 2026.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ErrorCode, UserError
from ..axes import change_axes
from ..cloud import SH_COEFFICIENTS
from ..files import Inflater, bad_file, check_expansion, map_bytes, zstd
from ..loaded import Decoded, LoadedSplat, assemble
from .packing import BYTES, join_largest

MAGIC = b"NGSP"
AXES = "RUB"
"""Default axis convention, as named in `gaussians.axes`."""
COLOR_SCALE = 0.15
"""A color byte is 127.5 + 255 * this * DC coefficient, which leaves room for colors beyond the displayable range."""

_EXTENDED = 0x2  # flag: the file has extension records
_AXES = ("", "LDB", "RDB", "LUB", "RUB", "LDF", "RDF", "LUF", "RUF")  # indexed by the number in the extension record
_COORDINATE_SYSTEM = 0xADBE0003
_SH_QUANTIZATION = 0xADBE0001
_MOST_EXTENSIONS = 1 << 16  # bytes


@dataclass(frozen=True)
class SpzHeader:
    """The file header.

    Attributes:
        version: 1 to 4.
        count: number of Gaussians.
        degree: degree of the spherical harmonics, 0 to 4.
        fraction: fractional bits of a coordinate.
        flags: 1: trained with antialiasing, 2: has extension records.
    """

    version: int
    count: int
    degree: int
    fraction: int
    flags: int

    def sizes(self) -> tuple[int, ...]:
        """Bytes per Gaussian: positions, opacities, colors, scales, rotations, spherical harmonics."""
        harmonics = 3 * (SH_COEFFICIENTS[self.degree] - 1)
        return (6 if self.version == 1 else 9, 1, 3, 3, 3 if self.version < 3 else 4, harmonics)


def read_spz(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read an SPZ file of any version.

    Raises:
        UserError: if the file is missing, damaged or truncated, has an unknown version, or needs a missing library.
    """
    path = Path(path)
    return decode_spz(path, map_bytes(path).tobytes(), keep_invalid)


def decode_spz(path: Path, data: bytes, keep_invalid: bool = False, target: str = "RDF") -> LoadedSplat:
    """Decode the bytes of an SPZ file to the axes `target`; errors name `path`."""
    if data[:4] == MAGIC:
        header, parts, axes = _read_zstd(path, data)
    else:
        header, parts, axes = _read_gzip(path, data)
    loaded = assemble(path, _decode(header, parts), keep_invalid)
    cloud = change_axes(loaded.cloud, axes, target)
    return LoadedSplat(cloud, loaded.kept, loaded.warnings, "spz", str(header.version), axes)


def _header(path: Path, data: bytes, versions: range) -> SpzHeader:
    """Read and check the fields that all versions share."""
    if len(data) < 16 or data[:4] != MAGIC:
        raise bad_file(path, "the header of an SPZ file is missing", 0)
    _, version, count, degree, fraction, flags, _ = struct.unpack("<4s2I4B", data[:16])
    if version not in versions:
        why = f"SPZ version {version} is not supported"
        raise bad_file(path, why, 4, "Export it as SPZ version 3 or as PLY")
    if count == 0:
        raise UserError(
            f"The file {path.name} has no Gaussians",
            "its header counts 0",
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    if degree >= len(SH_COEFFICIENTS):
        raise bad_file(path, f"spherical harmonics of degree {degree} are not supported", 12)
    if fraction > 24:
        raise bad_file(path, f"{fraction} fractional bits do not fit into 24 bits", 13)
    return SpzHeader(version, count, degree, fraction, flags)


def _read_gzip(path: Path, data: bytes) -> tuple[SpzHeader, list[bytes], str]:
    stream = Inflater(path, data)
    header = _header(path, stream.read(16), range(1, 4))
    sizes = [size * header.count for size in header.sizes()]
    check_expansion(path, sum(sizes), len(data), f"a header with {header.count} Gaussians", 8)
    parts = [stream.read(size) for size in sizes]
    end = stream.read_so_far
    return header, parts, _axes_of(path, stream.read_rest(_MOST_EXTENSIONS if header.flags & _EXTENDED else 0), end)


def _read_zstd(path: Path, data: bytes) -> tuple[SpzHeader, list[bytes], str]:
    header = _header(path, data, range(4, 5))
    if len(data) < 32:
        raise bad_file(path, "the header of 32 bytes is cut off", len(data))
    count, table = data[15], _u32(data, 16)
    wanted = [size * header.count for size in header.sizes() if size]
    start = table + 16 * count
    if count != len(wanted) or not 32 <= table <= len(data) - 16 * count:
        raise bad_file(path, f"its table of {count} streams at byte {table} does not fit into the file", 15)
    check_expansion(path, sum(wanted), len(data), f"a header with {header.count} Gaussians", 8)
    engine = zstd()
    if engine is None:
        why = "it has SPZ version 4, and this Python has no zstd"
        raise UserError(
            f"The file {path.name} cannot be read", why, "Install the package zstandard", code=ErrorCode.MISSING
        )
    parts = []
    for index, size in enumerate(wanted):
        packed, unpacked = struct.unpack_from("<2Q", data, table + 16 * index)
        if unpacked != size or packed > len(data) - start:
            raise bad_file(path, f"the size of stream {index} does not match {header.count} Gaussians", table)
        parts.append(_unzstd(path, engine, data[start : start + packed], size, start))
        start += packed
    parts += [b""] * (6 - len(parts))
    return header, parts, _axes_of(path, data[32:table] if header.flags & _EXTENDED else b"", 32)


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _unzstd(path: Path, engine: Any, data: bytes, size: int, at: int) -> bytes:
    try:
        out = engine.decompress(data, size)
    except engine.error as error:
        raise bad_file(path, f"its zstd data is damaged ({error})", at) from error
    if len(out) != size:
        raise bad_file(path, f"a stream of {size} bytes unpacks to another size", at)
    return out


def _axes_of(path: Path, records: bytes, at: int) -> str:
    """The axes in the extension records; unknown records are skipped, as the format requires."""
    place = 0
    while place + 8 <= len(records):
        kind, length = struct.unpack_from("<2I", records, place)
        if length > len(records) - place - 8:
            raise bad_file(path, f"an extension record of {length} bytes is cut off", at + place)
        if kind == _SH_QUANTIZATION:
            raise bad_file(
                path, "it uses custom quantization of spherical harmonics, which is not supported", at + place
            )
        if kind == _COORDINATE_SYSTEM and length >= 4:
            number = _u32(records, place + 8)
            if number >= len(_AXES):
                raise bad_file(path, f"its axes have the unknown number {number}", at + place)
            return _AXES[number] or AXES
        place += 8 + length
    return AXES


def _decode(header: SpzHeader, parts: list[bytes]) -> Decoded:
    n = header.count
    places, alphas, colors, scales, turns, harmonics = (np.frombuffer(part, np.uint8) for part in parts)
    sh = np.empty((n, SH_COEFFICIENTS[header.degree], 3), np.float32)
    sh[:, 0] = ((BYTES / 255 - 0.5) / COLOR_SCALE).astype(np.float32)[colors].reshape(n, 3)
    if header.degree:
        sh[:, 1:] = ((BYTES - 128) / 128).astype(np.float32)[harmonics].reshape(n, -1, 3)
    return Decoded(
        _places(header, places),
        _turns(header, turns.reshape(n, -1)),
        np.exp(BYTES / 16 - 10).astype(np.float32)[scales].reshape(n, 3),
        (BYTES / 255).astype(np.float32)[alphas],
        sh,
    )


def _places(header: SpzHeader, data: np.ndarray) -> np.ndarray:
    """[N,3] centers: 24-bit fixed point, or half precision in version 1."""
    if header.version == 1:
        return data.view("<f2").astype(np.float32).reshape(-1, 3)
    low, middle, high = data.reshape(-1, 3).T.astype(np.int32)
    fixed = low | middle << 8 | high << 16
    signed = (fixed ^ 0x800000) - 0x800000
    return (signed.astype(np.float32) * np.float32(2.0**-header.fraction)).reshape(-1, 3)


def _turns(header: SpzHeader, data: np.ndarray) -> np.ndarray:
    """[N,4] quaternions w, x, y, z."""
    if header.version < 3:  # x, y, z; w is positive
        xyz = (BYTES / 127.5 - 1).astype(np.float32)[data]
        return join_largest(xyz, np.zeros(len(data), np.int8))
    word = data.view("<u4")[:, 0]
    fields = np.stack([word >> 20, word >> 10, word], axis=1) & 1023  # 9 bits of magnitude, one of sign
    sizes = (fields & 511).astype(np.float32) * np.float32(np.sqrt(0.5) / 511)
    xyzw = join_largest(np.where(fields & 512, -sizes, sizes), (word >> 30).astype(np.int8))
    return xyzw[:, [3, 0, 1, 2]]
