"""All splat formats: identify a file by content, choose a format by file extension, read and write."""

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
    """Options of the writers.

    Attributes:
        extras: extra properties, [N] values by name; only INRIA PLY stores them.
        spz_version: 3 or 4.
        comments: comment lines for the header of a PLY.
    """

    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    spz_version: int = 3
    comments: tuple[str, ...] = ()


Reader = Callable[[Path, bool], LoadedSplat]
Writer = Callable[[Path, GaussianCloud, WriteOptions], tuple[str, ...]]


@dataclass(frozen=True)
class Format:
    """A splat format.

    Attributes:
        name: name, as in `LoadedSplat.format`.
        label: name for users.
        suffixes: file extensions, the usual one first.
        read: reader; takes the path and whether to keep rows with non-finite values.
        write: writer; returns sentences about data that the format cannot store. None if the format is read-only.
        axes: axis convention of its files, as named in `gaussians.axes`.
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
"""All formats, in the order in which extensions are matched."""

READ_SUFFIXES = tuple(dict.fromkeys(suffix for kind in FORMATS for suffix in kind.suffixes))
"""Extensions of readable files, besides `meta.json` of an unpacked SOG."""


def identify(path: str | Path) -> Format:
    """Identify the format of a file or folder by content, regardless of its name.

    Raises:
        UserError: if the file is missing, cannot be read, or has an unknown format.
    """
    path = Path(path)
    if path.is_dir():
        if (path / META).is_file():
            return SOG
        raise _unknown(path, f"the folder contains no {META}")
    start = first_bytes(path, 512)
    by_mark = {b"\x1f\x8b": SPZ, SPZ_MAGIC: SPZ, b"PK\x03\x04": SOG, GLB_MAGIC: GLTF}
    for mark, kind in by_mark.items():
        if start.startswith(mark):
            return kind
    if start[:3] == b"ply" and start[3:4] in (b"\r", b"\n", b" "):
        return _which_ply(path)
    binary = not start.isascii() or min(start, default=9) < 9
    if start.lstrip()[:1] == b"{" and not (
        binary and looks_like_splat(path)
    ):  # a coordinate may have the same first byte
        return _which_json(path)
    if not start:
        raise _unknown(path, "it is empty")
    if looks_like_ksplat(path):
        return KSPLAT
    if looks_like_splat(path):
        return SPLAT
    raise _unknown(path, f"it starts with the bytes {start[:4].hex(' ')}, unlike any supported format")


def _which_ply(path: Path) -> Format:
    try:
        with path.open("rb") as stream:
            return COMPRESSED_PLY if is_compressed(read_header(stream, path)) else PLY
    except OSError as error:
        raise unreadable(path, error) from error


def _which_json(path: Path) -> Format:
    """Distinguish glTF, which has `asset`, from SOG, which has `means`, by the start of the file."""
    text = first_bytes(path, 1 << 20)
    if path.name == META or b'"means"' in text:
        return SOG
    if b'"asset"' in text:
        return GLTF
    raise _unknown(path, "it is JSON, but neither glTF nor the meta.json of a SOG")


def _unknown(path: Path, why: str) -> UserError:
    endings = ", ".join(suffix.lstrip(".") for suffix in READ_SUFFIXES)
    fix = f"Choose a splat file ({endings})"
    return UserError(f"The format of {path.name} is not supported", why, fix, code=ErrorCode.BAD_FILE)


def read_splat(path: str | Path, keep_invalid: bool = False) -> LoadedSplat:
    """Read a splat of any format.

    Args:
        path: a file, or the folder of an unpacked SOG.
        keep_invalid: keep Gaussians with values that are not finite, which are otherwise left out.

    Raises:
        UserError: if the file is missing or damaged, or has an unsupported format.
    """
    path = Path(path)
    try:
        return identify(path).read(path, keep_invalid)
    except MemoryError as error:
        raise UserError(
            f"The file {path.name} cannot be read",
            "it does not fit into memory",
            fix="Close other programs, or import a smaller file",
        ) from error


def format_for(path: str | Path) -> Format:
    """The format to write for a file extension.

    Raises:
        UserError: if the extension is unknown, or the format is read-only.
    """
    name = Path(path).name.lower()
    for kind in FORMATS:
        if name.endswith(kind.suffixes):
            if kind.write is not None:
                return kind
            raise UserError(
                f"{kind.label} files cannot be written",
                "the format is only supported for reading",
                "Choose .ply, .spz or .glb",
            )
    endings = ", ".join(kind.suffixes[0] for kind in FORMATS if kind.write)
    raise UserError(
        f"The format of {Path(path).name} is not known", "its extension is not supported", f"Use one of {endings}"
    )


def write_splat(path: str | Path, cloud: GaussianCloud, options: WriteOptions | None = None) -> tuple[str, ...]:
    """Write a splat in the format of the file extension.

    Args:
        path: output file; an older file is replaced only after the new one is complete.
        cloud: N Gaussians in the axes of PLY files.
        options: options of some formats.

    Returns:
        Sentences about data that the format cannot store.

    Raises:
        UserError: if the cloud is empty, the extension is unknown, or the file cannot be written.
    """
    path = Path(path)
    kind = format_for(path)
    if not len(cloud):
        raise UserError("There is nothing to write", "the splat has no Gaussians", "Select some Gaussians first")
    assert kind.write is not None
    if path.suffix.lower() == ".gltf":
        raise UserError(f"{path.name} cannot be written", "only binary glTF can be written", "Use the extension .glb")
    options = options or WriteOptions()
    if kind is PLY:
        return kind.write(path, cloud, options)
    cloud, losses = _without_what_only_ply_holds(kind, cloud, options)
    return (*losses, *kind.write(path, cloud, options))


def _without_what_only_ply_holds(
    kind: Format, cloud: GaussianCloud, options: WriteOptions
) -> tuple[GaussianCloud, list[str]]:
    """The finite Gaussians, because one NaN would spoil shared bounds, and sentences about omitted data.

    Raises:
        UserError: if no Gaussian is finite.
    """
    losses, finite = [], finite_rows(cloud)
    if options.extras:
        names = ", ".join(options.extras)
        losses.append(f"{kind.label} cannot store these extra properties, which are left out: {names}. PLY stores them")
    if finite.all():
        return cloud, losses
    if not finite.any():
        raise UserError("There is nothing to write", "no Gaussian has finite values", fix="Import its file again")
    bad = len(cloud) - int(np.count_nonzero(finite))
    losses.append(f"{bad:,} Gaussians were left out because they have values that are not finite")
    return cloud.take(finite), losses
