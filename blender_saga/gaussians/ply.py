"""3D Gaussian Splatting PLY files in the INRIA layout: reading (any byte order, ascii too) and writing.

File values are raw: log scales, logit opacities, quaternions of any length, `f_rest` channel by channel (all of red,
then green, then blue). A GaussianCloud holds them activated, with the coefficients of one band side by side.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..wire.errors import UserError
from .cloud import SH_COEFFICIENTS, GaussianCloud
from .ply_header import Header, read_header

_BLOCK = 8192  # rows a pass: 2 MB of an SH3 file, so that the columns are gathered from the cache
_GEOMETRY = ("x", "y", "z", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3", "opacity")
_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_TINY = float(np.finfo(np.float32).tiny)
_LARGEST_OPACITY = 1 - 2.0**-25  # its logit, 17.3, turns into 1.0 again on reading


@dataclass(frozen=True, eq=False)
class LoadedSplat:
    """What came out of a file.

    Attributes:
        cloud: the usable Gaussians, in the order of the file.
        kept: [file count] bool, which vertices they are; None: all.
        warnings: sentences for the user about what was repaired or left out.
    """

    cloud: GaussianCloud
    kept: np.ndarray | None = None
    warnings: tuple[str, ...] = ()


def read_ply(path: str | Path) -> LoadedSplat:
    """Read a Gaussian splat.

    Rows with a number that is not finite are left out; quaternions of length zero become the identity. Both are told
    in `warnings`.

    Raises:
        UserError: if the file is missing, not a PLY, a mesh, compressed, truncated, empty or lacks a property.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            header = read_header(stream, path)
            names = _check(header, path)
            rows = _read_rows(stream, header, path)
    except OSError as error:
        raise UserError(f"The file {path} cannot be read", error.strerror or str(error), code="file") from error
    return _build(path, rows, names)


def _check(header: Header, path: Path) -> list[str]:
    """The names of the `f_rest` properties, after making sure that the file holds Gaussians."""
    vertex, names = header.vertex, set(header.vertex.names)
    if "packed_position" in names:
        raise UserError(
            f"The file {path.name} cannot be read yet",
            "it is a compressed PLY",
            "Export it as an uncompressed PLY, for instance in SuperSplat",
            code="bad_file",
        )
    missing = [name for name in (*_GEOMETRY, *_DC) if name not in names]
    if missing:
        mesh = "face" in header.element_names or not names & set(_GEOMETRY[3:])
        why = "it is a mesh or a plain point cloud" if mesh else "it lacks " + ", ".join(missing)
        raise UserError(
            f"The file {path.name} is not a Gaussian splat", why, "Choose the PLY of a splat trainer", code="bad_file"
        )
    if vertex.count == 0:
        raise UserError(f"The file {path.name} has no Gaussians", "its header counts 0 vertices", code="bad_file")
    rest = sorted((n for n in names if n.startswith("f_rest_")), key=lambda n: (len(n), n))
    allowed = [3 * (k - 1) for k in SH_COEFFICIENTS]
    if len(rest) not in allowed or rest != [f"f_rest_{i}" for i in range(len(rest))]:
        raise UserError(
            f"The file {path.name} cannot be read",
            f"it has {len(rest)} f_rest properties, and spherical harmonics need 0, 9, 24, 45 or 72",
            code="bad_file",
        )
    return rest


def _read_rows(stream: BinaryIO, header: Header, path: Path) -> np.ndarray:
    """[count] structured array with one field per property, mapped from the file where it is binary."""
    vertex = header.vertex
    if header.ascii:
        try:
            lines = np.loadtxt(stream, vertex.dtype, skiprows=header.skip, max_rows=vertex.count, ndmin=1)
        except ValueError as error:
            raise _truncated(path, vertex.count, f"a line cannot be read ({error})") from error
        if len(lines) < vertex.count:
            raise _truncated(path, vertex.count, f"only {len(lines)} are there")
        return lines
    start = stream.tell() + header.skip
    there = (path.stat().st_size - start) // vertex.dtype.itemsize
    if there < vertex.count:
        raise _truncated(path, vertex.count, f"only {max(there, 0)} are there")
    return np.memmap(path, vertex.dtype, "r", offset=start, shape=(vertex.count,))


def _truncated(path: Path, count: int, why: str) -> UserError:
    return UserError(
        f"The file {path.name} is damaged or cut off",
        f"it announces {count} Gaussians, and {why}",
        "Copy or export it again",
        code="bad_file",
    )


def _build(path: Path, rows: np.ndarray, rest: list[str]) -> LoadedSplat:
    """Activate the values block by block, then drop and repair what cannot be used."""
    n, k = len(rows), len(rest) // 3 + 1
    raw = np.empty((n, 11), np.float32)  # the columns of _GEOMETRY, activated
    sh = np.empty((n, k, 3), np.float32)
    finite = np.empty(n, bool)
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        block = np.asarray(rows[part])
        _activate(block, raw[part])
        with np.errstate(over="ignore"):  # a double too large for float32 becomes infinite, and its row is left out
            for channel, name in enumerate(_DC):
                sh[part, 0, channel] = block[name]
            for index, name in enumerate(rest):
                sh[part, 1 + index % (k - 1), index // (k - 1)] = block[name]
        finite[part] = np.isfinite(raw[part]).all(1) & np.isfinite(sh[part].reshape(len(block), -1)).all(1)
    warnings = []
    if not finite.all():
        raw, sh = raw[finite], sh[finite]
        warnings.append(f"{n - len(raw)} of {n} Gaussians were left out because they hold numbers that are not finite")
    if not len(raw):
        raise UserError(f"The file {path.name} has no usable Gaussians", "none of them is finite", code="bad_file")
    zero = _normalise(raw[:, 6:10])
    if zero:
        warnings.append(f"{zero} Gaussians had a rotation of length zero; they are now unrotated")
    cloud = GaussianCloud(raw[:, :3], raw[:, 6:10], raw[:, 3:6], raw[:, 10], sh)
    return LoadedSplat(cloud, None if finite.all() else finite, tuple(warnings))


def _activate(block: np.ndarray, out: np.ndarray) -> None:
    """Columns of _GEOMETRY of some rows, [B,11]: scales exponentiated, opacity through the sigmoid.

    In double precision, so that the rounded float32 (and the fingerprint of the cloud made from them) does not depend
    on which vector instructions a machine has.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        for index, name in enumerate(_GEOMETRY):
            values = block[name]
            if name.startswith("scale"):
                values = np.exp(values.astype(np.float64))
            elif name == "opacity":
                values = 1 / (1 + np.exp(-values.astype(np.float64)))
            out[:, index] = values


def _normalise(quats: np.ndarray) -> int:
    """Bring quaternions [N,4] to unit length in place; zero ones become the identity. Returns how many were zero."""
    length = np.sqrt(np.einsum("ij,ij->i", quats, quats, dtype=np.float64))
    zero = length < 1e-12
    quats[zero] = (1, 0, 0, 0)
    length[zero] = 1
    quats /= length[:, None]
    return int(zero.sum())


def write_ply(path: str | Path, cloud: GaussianCloud) -> None:
    """Write a Gaussian splat in the INRIA layout (binary, little endian), with zero normals as other tools expect.

    The file is written beside and put in place at the end, so a failure leaves an older file as it was.

    Raises:
        UserError: if the cloud is empty or the file cannot be written.
    """
    path = Path(path)
    if not len(cloud):
        raise UserError("There is nothing to write", "the cloud has no Gaussians", "Select something first")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            stream.write(_header_text(len(cloud), cloud.sh.shape[1]).encode("ascii"))
            for start in range(0, len(cloud), _BLOCK):
                stream.write(_raw_rows(cloud, slice(start, start + _BLOCK)).tobytes())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"The file {path} cannot be written", error.strerror or str(error), code="file") from error


def _header_text(count: int, k: int) -> str:
    names = ["x", "y", "z", "nx", "ny", "nz", *_DC, *(f"f_rest_{i}" for i in range(3 * (k - 1)))]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    properties = "".join(f"property float {name}\n" for name in names)
    return f"ply\nformat binary_little_endian 1.0\nelement vertex {count}\n{properties}end_header\n"


def _raw_rows(cloud: GaussianCloud, part: slice) -> np.ndarray:
    """[B, 14 + 3K] little-endian float32: the rows as they stand in the file."""
    means, sh = cloud.means[part], cloud.sh[part]
    n, k = sh.shape[:2]
    rows = np.zeros((n, 14 + 3 * k), "<f4")
    rows[:, :3] = means
    rows[:, 6:9] = sh[:, 0]
    rows[:, 9 : 6 + 3 * k].reshape(n, 3, k - 1)[:] = sh[:, 1:].transpose(0, 2, 1)
    opacity = np.clip(cloud.opacities[part].astype(np.float64), _TINY, _LARGEST_OPACITY)
    rows[:, -8] = np.log(opacity / (1 - opacity))
    rows[:, -7:-4] = np.log(np.maximum(cloud.scales[part].astype(np.float64), _TINY))
    rows[:, -4:] = cloud.quats[part]
    return rows
