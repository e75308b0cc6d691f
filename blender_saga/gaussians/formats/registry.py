"""All splat formats: which one a file is, by its content; which one a name asks for; reading and writing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import ErrorCode, UserError
from ..cloud import GaussianCloud
from ..files import first_bytes, unreadable
from ..loaded import LoadedSplat, finite_rows
from ..ply import read_ply, write_ply
from ..ply_header import read_header
from .compressed_ply import is_compressed, read_compressed_ply
from .compressed_ply_write import write_compressed_ply
from .gltf import AXES as GLTF_AXES
from .gltf import read_gltf, write_gltf
from .gltf_container import GLB_MAGIC
from .ksplat import looks_like_ksplat, read_ksplat
from .sog import META, read_sog
from .splat import looks_like_splat, read_splat_file, write_splat_file
from .spz import AXES as SPZ_AXES
from .spz import MAGIC as SPZ_MAGIC
from .spz import read_spz
from .spz_write import write_spz


@dataclass(frozen=True, eq=False)
class WriteOptions:
    """What a writer may want beyond the cloud.

    Attributes:
        extras: further properties, name to [N] numbers; only INRIA PLY holds them.
        spz_version: 3 or 4.
        comments: lines for the header of a PLY.
    """

    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    spz_version: int = 3
    comments: tuple[str, ...] = ()


Reader = Callable[[Path, bool], LoadedSplat]
Writer = Callable[[Path, GaussianCloud, WriteOptions], tuple[str, ...]]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: as in `LoadedSplat.format`.
        label: as users call it.
        suffixes: endings of its files, the usual one first.
        read: from the path and whether to keep rows that are not finite.
        write: returns sentences about what the format cannot hold; None: it is only read.
        axes: of the numbers in its files, as `gaussians.axes` names them.
    """

    name: str
    label: str
    suffixes: tuple[str, ...]
    read: Reader
    write: Writer | None = None
    axes: str = "RDF"


def _write_ply(path: Path, cloud: GaussianCloud, options: WriteOptions) -> tuple[str, ...]:
    write_ply(path, cloud, options.extras, options.comments)
    return ()


COMPRESSED_PLY = Format(
    "compressed-ply",
    "compressed PLY",
    (".compressed.ply",),
    read_compressed_ply,
    lambda path, cloud, _: write_compressed_ply(path, cloud),
)
PLY = Format("ply", "PLY", (".ply",), read_ply, _write_ply)
SPZ = Format("spz", "SPZ", (".spz",), read_spz, lambda path, cloud, o: write_spz(path, cloud, o.spz_version), SPZ_AXES)
SPLAT = Format("splat", ".splat", (".splat",), read_splat_file, lambda path, cloud, _: write_splat_file(path, cloud))
GLTF = Format("gltf", "glTF", (".glb", ".gltf"), read_gltf, lambda path, cloud, _: write_gltf(path, cloud), GLTF_AXES)
SOG = Format("sog", "SOG", (".sog",), read_sog)
KSPLAT = Format("ksplat", ".ksplat", (".ksplat",), read_ksplat)

FORMATS = (COMPRESSED_PLY, PLY, SPZ, SPLAT, GLTF, SOG, KSPLAT)
"""All of them; an ending is looked for in this order."""

READ_SUFFIXES = tuple(dict.fromkeys(suffix for kind in FORMATS for suffix in kind.suffixes))
"""Endings of the files that can be read (`meta.json` of an unpacked SOG comes on top)."""


def identify(path: str | Path) -> Format:
    """The format of a file or folder, by its content; its name does not count.

    Raises:
        UserError: if it is missing, cannot be read, or is none of the formats.
    """
    path = Path(path)
    if path.is_dir():
        if (path / META).is_file():
            return SOG
        raise _unknown(path, f"the folder has no {META}")
    start = first_bytes(path, 512)
    by_mark = {b"\x1f\x8b": SPZ, SPZ_MAGIC: SPZ, b"PK\x03\x04": SOG, GLB_MAGIC: GLTF}
    for mark, kind in by_mark.items():
        if start.startswith(mark):
            return kind
    if start[:3] == b"ply" and start[3:4] in (b"\r", b"\n", b" "):
        return _which_ply(path)
    binary = not start.isascii() or min(start, default=9) < 9
    if start.lstrip()[:1] == b"{" and not (binary and looks_like_splat(path)):  # a coordinate may begin so too
        return _which_json(path)
    if not start:
        raise _unknown(path, "it is empty")
    if looks_like_ksplat(path):
        return KSPLAT
    if looks_like_splat(path):
        return SPLAT
    raise _unknown(path, f"it starts with the bytes {start[:4].hex(' ')}, and no known format does")


def _which_ply(path: Path) -> Format:
    try:
        with path.open("rb") as stream:
            return COMPRESSED_PLY if is_compressed(read_header(stream, path)) else PLY
    except OSError as error:
        raise unreadable(path, error) from error


def _which_json(path: Path) -> Format:
    """A glTF names its version in `asset`, and a SOG its `means`; the beginning says enough to tell them apart."""
    text = first_bytes(path, 1 << 20)
    if path.name == META or b'"means"' in text:
        return SOG
    if b'"asset"' in text:
        return GLTF
    raise _unknown(path, "it is JSON, but neither glTF nor the meta.json of a SOG")


def _unknown(path: Path, why: str) -> UserError:
    endings = ", ".join(suffix.lstrip(".") for suffix in READ_SUFFIXES)
    fix = f"Choose a splat file ({endings})"
    return UserError(f"The format of {path.name} is not known", why, fix, code=ErrorCode.BAD_FILE)


def read_splat(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a splat of any format.

    Args:
        path: a file, or the folder of an unpacked SOG.
        keep_invalid: keep Gaussians with numbers that are not finite, which are left out otherwise.

    Raises:
        UserError: if it is missing, damaged, or of a format that is not known.
    """
    path = Path(path)
    try:
        return identify(path).read(path, keep_invalid)
    except MemoryError as error:
        raise UserError(
            f"The file {path.name} cannot be read",
            "it does not fit into the memory",
            fix="Close other programs, or import a smaller file",
        ) from error


def format_for(path: str | Path) -> Format:
    """The format that the ending of a name asks for, to write it.

    Raises:
        UserError: if the ending is unknown, or the format is only read.
    """
    name = Path(path).name.lower()
    for kind in FORMATS:
        if name.endswith(kind.suffixes):
            if kind.write is not None:
                return kind
            raise UserError(f"{kind.label} files cannot be written", "they are only read", "Choose .ply, .spz or .glb")
    endings = ", ".join(kind.suffixes[0] for kind in FORMATS if kind.write)
    raise UserError(f"{Path(path).name} names no format", "its ending is not known", f"End it with one of {endings}")


def write_splat(path: str | Path, cloud: GaussianCloud, options: WriteOptions | None = None) -> tuple[str, ...]:
    """Write a splat in the format that the ending of the name asks for.

    Args:
        path: where to; an older file is replaced only when the new one is complete.
        cloud: N Gaussians in the axes of PLY files.
        options: what some formats can do beyond that.

    Returns:
        Sentences about what the format cannot hold.

    Raises:
        UserError: if the cloud is empty, the ending is unknown, or the file cannot be written.
    """
    path = Path(path)
    kind = format_for(path)
    if not len(cloud):
        raise UserError("There is nothing to write", "the cloud has no Gaussians", "Select something first")
    assert kind.write is not None
    if path.suffix.lower() == ".gltf":
        raise UserError(f"{path.name} cannot be written", "only binary glTF is written", "End the name with .glb")
    options = options or WriteOptions()
    if kind is PLY:
        return kind.write(path, cloud, options)
    cloud, losses = _without_what_only_ply_holds(kind, cloud, options)
    return (*losses, *kind.write(path, cloud, options))


def _without_what_only_ply_holds(
    kind: Format, cloud: GaussianCloud, options: WriteOptions
) -> tuple[GaussianCloud, list[str]]:
    """The finite Gaussians (one NaN would spoil the bounds that many share), and sentences about what is left out.

    Raises:
        UserError: if nothing is left.
    """
    losses, finite = [], finite_rows(cloud)
    if options.extras:
        names = ", ".join(options.extras)
        losses.append(
            f"{kind.label} has no room for further properties, which are left out: {names} (a PLY keeps them)"
        )
    if finite.all():
        return cloud, losses
    if not finite.any():
        raise UserError("There is nothing to write", "none of the Gaussians is finite", fix="Import its file again")
    bad = len(cloud) - int(np.count_nonzero(finite))
    losses.append(f"{bad:,} Gaussians were left out because they hold numbers that are not finite")
    return cloud.take(finite), losses
