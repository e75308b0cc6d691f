"""Read (any byte order and ASCII) and write 3D Gaussian Splatting PLY files in the INRIA layout.

File values are raw: log scales, logit opacities, quaternions of any length, and `f_rest` by channel (all red, all
green, then all blue values). A GaussianCloud has activated values, with the coefficients of one band side by side.

Layout: B. Kerbl et al., "3D Gaussian Splatting for Real-Time Radiance Field Rendering", 2023, and the files that its
trainer writes. PLY itself: G. Turk, "The PLY Polygon File Format", 1994.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..errors import ErrorCode, UserError
from .atomic_write import atomic_stream
from .blocks import blocks, over_blocks
from .cloud import SH_COEFFICIENTS, GaussianCloud
from .files import unreadable
from .loaded import Decoded, LoadedSplat, assemble
from .ply_header import Header, read_header

__all__ = ["LoadedSplat", "read_ply", "write_ply", "write_rows"]

_BLOCK = 8192  # rows per pass: 2 MB of an SH3 file, so that the columns are gathered from the cache
_GEOMETRY = ("x", "y", "z", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "opacity")
_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_NORMALS = ("nx", "ny", "nz")
_TINY = float(np.finfo(np.float32).tiny)
_LARGEST_OPACITY = 1 - 2.0**-25  # its logit, 17.3, reads back as 1.0
_TYPE_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint"}
_TYPE_NAMES |= {"f4": "float", "f8": "double"}


def read_ply(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a Gaussian splat.

    Rows with non-finite values are left out (`keep_invalid` keeps them); zero quaternions become the identity.
    `warnings` reports both.

    Raises:
        UserError: if the file is missing, no PLY, a mesh, compressed, truncated or empty, or lacks a property.
    """
    path = Path(path)
    rows = map_rows(path)
    rest = _rest_names(rows)
    known = {*_GEOMETRY, *_DC, *rest}
    others = [name for name in rows.dtype.names or () if name not in known]
    extras = {name: np.empty(len(rows), rows.dtype[name].newbyteorder("=")) for name in others}
    loaded = assemble(path, _activated(rows, rest, extras), keep_invalid)
    for name in _NORMALS:  # the layout requires them, usually as zeros
        if name in extras and not (extras[name] != 0).any():
            del extras[name]
    if loaded.kept is not None:
        rows, extras = rows[loaded.kept], {name: values[loaded.kept] for name, values in extras.items()}
    return LoadedSplat(loaded.cloud, loaded.kept, loaded.warnings, "ply", "1.0", "RDF", extras, rows)


def map_rows(path: Path) -> np.ndarray:
    """[N] structured, the raw rows of an INRIA PLY, mapped from the file, or read from an ASCII file.

    Raises:
        UserError: as `read_ply`.
    """
    try:
        with path.open("rb") as stream:
            header = read_header(stream, path)
            _check(header, path)
            return _read_rows(stream, header, path)
    except OSError as error:
        raise unreadable(path, error) from error


def activate_rows(path: Path, rows: np.ndarray) -> GaussianCloud:
    """Convert rows of `map_rows` to a cloud, without rows with non-finite values; errors name `path`.

    Raises:
        UserError: if no row is left.
    """
    return assemble(path, _activated(rows, _rest_names(rows), {})).cloud


def _rest_names(rows: np.ndarray) -> list[str]:
    """The names of the `f_rest` properties, ordered by number."""
    names = [name for name in rows.dtype.names or () if name.startswith("f_rest_")]
    return [f"f_rest_{index}" for index in range(len(names))]


def _check(header: Header, path: Path) -> None:
    """Check that the file contains Gaussians."""
    vertex, names = header.vertex, set(header.vertex.names)
    if "packed_position" in names:
        why = "it is a compressed PLY instead of an INRIA PLY"
        raise UserError(
            f"The file {path.name} cannot be read", why, fix="Export it again from the trainer", code=ErrorCode.BAD_FILE
        )
    missing = [name for name in (*_GEOMETRY, *_DC) if name not in names]
    if missing:
        mesh = "face" in header.elements or not names & set(_GEOMETRY[3:])
        why = "it is a mesh or a plain point cloud" if mesh else "it lacks " + ", ".join(missing)
        raise UserError(
            f"The file {path.name} is not a Gaussian splat",
            why,
            "Choose the PLY of a splat trainer",
            code=ErrorCode.BAD_FILE,
        )
    if vertex.count == 0:
        raise UserError(
            f"The file {path.name} has no Gaussians",
            "its header declares 0 vertices",
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    rest = sorted((n for n in names if n.startswith("f_rest_")), key=lambda n: (len(n), n))
    allowed = [3 * (k - 1) for k in SH_COEFFICIENTS]
    if len(rest) not in allowed or rest != [f"f_rest_{i}" for i in range(len(rest))]:
        raise UserError(
            f"The file {path.name} cannot be read",
            f"it has {len(rest)} f_rest properties instead of 0, 9, 24, 45 or 72",
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )


def _read_rows(stream: BinaryIO, header: Header, path: Path) -> np.ndarray:
    """[count] structured array with one field per property, mapped from a binary file."""
    vertex = header.vertex
    size = path.stat().st_size
    if header.ascii:
        shortest = 2 * len(vertex.names)  # bytes of a line: a digit and a space for each number
        if vertex.count * shortest > size - stream.tell() + 1:
            raise _truncated(path, vertex.count, f"they do not fit into its {size} bytes")
        try:
            lines = np.loadtxt(stream, vertex.dtype, skiprows=header.skip, max_rows=vertex.count, ndmin=1)
        except ValueError as error:
            raise _truncated(path, vertex.count, f"a line is invalid ({error})") from error
        if len(lines) < vertex.count:
            raise _truncated(path, vertex.count, f"only {len(lines)} exist")
        return lines
    there = (size - vertex.start) // vertex.dtype.itemsize
    if there < vertex.count:
        raise _truncated(path, vertex.count, f"only {max(there, 0)} exist; the file ends at byte {size}")
    return np.memmap(path, vertex.dtype, "r", offset=vertex.start, shape=(vertex.count,))


def _truncated(path: Path, count: int, why: str) -> UserError:
    return UserError(
        f"The file {path.name} is damaged or cut off",
        f"its header declares {count} Gaussians, but {why}",
        "Copy or export it again",
        code=ErrorCode.BAD_FILE,
    )


def _activated(rows: np.ndarray, rest: list[str], extras: dict[str, np.ndarray]) -> Decoded:
    """Gather and activate the columns block by block; also fills `extras`.

    Double precision makes the rounded float32 values, and thus the fingerprint of the cloud, independent of the vector
    instructions of the machine.
    """
    n, k = len(rows), len(rest) // 3 + 1
    shapes = ((n, 3), (n, 4), (n, 3), (n,), (n, k, 3))
    out = Decoded(*(np.empty(shape, np.float32) for shape in shapes))

    def work(wide: slice) -> None:
        for part in blocks(wide.stop - wide.start, _BLOCK):
            place = slice(wide.start + part.start, wide.start + part.stop)
            _activate_block(np.asarray(rows[place]), Decoded(*(column[place] for column in out.columns())), rest)
            for name, values in extras.items():
                values[place] = rows[name][place]

    over_blocks(n, 8 * _BLOCK, work)
    return out


def _activate_block(block: np.ndarray, out: Decoded, rest: list[str]) -> None:
    """Write the columns of a block of rows to `out`."""
    k = len(rest) // 3 + 1
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives infinity, which drops the row
        for axis, name in enumerate(_GEOMETRY[:3]):
            out.means[:, axis] = block[name]
            out.scales[:, axis] = np.exp(block[_GEOMETRY[3 + axis]].astype(np.float64))
        for index, name in enumerate(_GEOMETRY[6:10]):
            out.quats[:, index] = block[name]
        out.opacities[:] = 1 / (1 + np.exp(-block["opacity"].astype(np.float64)))
        for channel, name in enumerate(_DC):
            out.sh[:, 0, channel] = block[name]
        for index, name in enumerate(rest):
            out.sh[:, 1 + index % (k - 1), index // (k - 1)] = block[name]


def write_ply(
    path: str | Path,
    cloud: GaussianCloud,
    extras: Mapping[str, np.ndarray] | None = None,
    comments: Sequence[str] = (),
) -> None:
    """Write a Gaussian splat in the INRIA layout (binary, little endian), with zero normals as other tools expect.

    The file is written under a temporary name first, so that an error leaves an older file unchanged.

    Args:
        path: output file.
        cloud: N Gaussians in the axes of PLY files.
        extras: extra properties, [N] values by name; they follow the others, with their own type. Normals (`nx`, `ny`,
            `nz`) replace the zeros.
        comments: comment lines for the header.

    Raises:
        UserError: if the cloud is empty or the file cannot be written.
    """
    if not len(cloud):
        raise UserError("There is nothing to write", "the splat has no Gaussians", "Select some Gaussians first")
    extras = {"_".join(name.split()): values for name, values in (extras or {}).items()}
    normals = {name: extras.pop(name) for name in _NORMALS if name in extras}
    standard = column_names(cloud.sh.shape[1])
    extras = {name: values for name, values in extras.items() if name not in standard}
    dtype = np.dtype([(name, "<f4") for name in standard] + [(name, _little(v)) for name, v in extras.items()])
    with atomic_stream(path) as stream:
        stream.write(_header_text(dtype, len(cloud), comments))
        for start in range(0, len(cloud), _BLOCK):
            part = slice(start, start + _BLOCK)
            plain = raw_rows(cloud, part)
            for name, values in normals.items():
                plain[:, standard.index(name)] = values[part]
            if not extras:
                stream.write(plain.tobytes())
                continue
            block = np.empty(len(plain), dtype)
            block.view(np.uint8).reshape(len(plain), -1)[:, : plain.shape[1] * 4] = plain.view(np.uint8)
            for name, values in extras.items():
                block[name] = values[part]
            stream.write(block.tobytes())


def write_rows(path: str | Path, rows: np.ndarray, source: str | Path | None = None) -> None:
    """Write rows of an INRIA PLY byte for byte: same properties, order, types and byte order.

    Args:
        path: output file; must not be the file that `rows` is mapped from.
        rows: [N] structured, as in `LoadedSplat.rows`.
        source: the file of the rows. If it is ASCII and the rows are complete, its text is kept.

    Raises:
        UserError: if the file cannot be written.
    """
    text = None if source is None else _same_text(Path(source), rows)
    with atomic_stream(path) as stream:
        if text is not None:
            stream.write(_header_text(rows.dtype, len(rows), ascii_text=True) + text)
            return
        stream.write(_header_text(rows.dtype, len(rows)))
        for start in range(0, len(rows), _BLOCK):
            stream.write(rows[start : start + _BLOCK].tobytes())


def _same_text(source: Path, rows: np.ndarray) -> bytes | None:
    """The vertex lines of an ASCII file, if they equal the rows."""
    try:
        with source.open("rb") as stream:
            header = read_header(stream, source)
            if not header.ascii:
                return None
            lines = [line for line in stream.read().splitlines(keepends=True) if line.strip()]
            there = map_rows(source)
    except OSError as error:
        raise unreadable(source, error) from error
    if there.dtype != rows.dtype or there.tobytes() != rows.tobytes():
        return None
    return b"".join(lines[header.skip : header.skip + len(rows)])


def column_names(k: int) -> list[str]:
    """Properties of the INRIA layout with K coefficients, in the order of `raw_rows`."""
    names = ["x", "y", "z", *_NORMALS, *_DC, *(f"f_rest_{i}" for i in range(3 * (k - 1)))]
    return [*names, "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]


def _little(values: np.ndarray) -> str:
    kind = values.dtype.str[1:]
    return "<" + {"b1": "u1", "i8": "i4", "u8": "u4", "f2": "f4"}.get(kind, kind)


def _header_text(dtype: np.dtype, count: int, comments: Sequence[str] = (), ascii_text: bool = False) -> bytes:
    types = [dtype[name] for name in dtype.names or ()]
    order = "big" if any(kind.str[0] == ">" for kind in types) else "little"
    form = "ascii" if ascii_text else f"binary_{order}_endian"
    lines = [f"property {_TYPE_NAMES[t.str[1:]]} {name}\n" for name, t in zip(dtype.names or (), types, strict=True)]
    notes = "".join(f"comment {' '.join(comment.split())}\n" for comment in comments)
    text = f"ply\nformat {form} 1.0\n{notes}element vertex {count}\n{''.join(lines)}end_header\n"
    return text.encode("ascii", "replace")


def raw_rows(cloud: GaussianCloud, part: slice) -> np.ndarray:
    """[B, 14 + 3K] little-endian float32: rows of the INRIA layout."""
    means, sh = cloud.means[part], cloud.sh[part]
    n, k = sh.shape[:2]
    rows = np.zeros((n, 14 + 3 * k), "<f4")
    rows[:, :3] = means
    rows[:, 6:9] = sh[:, 0]
    rows[:, 9 : 6 + 3 * k].reshape(n, 3, k - 1)[:] = sh[:, 1:].transpose(0, 2, 1)
    rows[:, -8] = logits(cloud.opacities[part])
    rows[:, -7:-4] = log_scales(cloud.scales[part])
    rows[:, -4:] = cloud.quats[part]
    return rows


def logits(opacities: np.ndarray) -> np.ndarray:
    """Logits of opacities, float64; finite also for 0 and 1."""
    opacity = np.clip(np.asarray(opacities, np.float64), _TINY, _LARGEST_OPACITY)
    return np.log(opacity / (1 - opacity))


def log_scales(scales: np.ndarray) -> np.ndarray:
    """Natural logarithms of standard deviations, float64; finite also for zero."""
    return np.log(np.maximum(np.asarray(scales, np.float64), _TINY))
