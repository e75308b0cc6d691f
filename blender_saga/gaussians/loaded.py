"""What comes out of a splat file, whatever its format, and how it is made from decoded columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import ErrorCode, UserError
from .blocks import over_blocks
from .cloud import GaussianCloud

_BLOCK = 65536  # rows a pass: keeps the temporary arrays small


@dataclass(frozen=True, eq=False)
class LoadedSplat:
    """What came out of a file.

    Attributes:
        cloud: the usable Gaussians, in the order of the file and in the axes of PLY files (x right, y down, z forward),
            whatever axes the format has.
        kept: [file count] bool, which Gaussians of the file they are; None: all.
        warnings: sentences for the user about what was repaired, left out or is not known here.
        format: name of the format, as the registry has it.
        version: version of the format that the file names, "" if it names none.
        axes: those of the numbers in the file, as `gaussians.axes` names them; `cloud` is not in them.
        extras: further properties of a PLY: name to [N] numbers, in the order of the cloud.
        rows: [N] structured, the rows of an INRIA PLY as they stand in the file, in the order of the cloud; None for
            other formats. May be mapped from the file, which must then stay as it is.
    """

    cloud: GaussianCloud
    kept: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    format: str = ""
    version: str = ""
    axes: str = "RDF"
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    @property
    def file_count(self) -> int:
        """How many Gaussians the file has, the left-out ones included."""
        return len(self.cloud) if self.kept is None else len(self.kept)


@dataclass(eq=False)
class Decoded:
    """Activated columns of all Gaussians of a file, before anything is checked: shapes as in GaussianCloud."""

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    sh: np.ndarray

    def columns(self) -> tuple[np.ndarray, ...]:
        """The five arrays."""
        return self.means, self.quats, self.scales, self.opacities, self.sh


def assemble(path: Path, decoded: Decoded, keep_invalid: bool = False) -> LoadedSplat:
    """Drop or repair what cannot be used, and say so.

    Rows with a number that is not finite are left out (or kept as they are, on request); quaternions get unit length,
    and those of length zero become the identity; opacities are clipped to 0..1. Quaternions are changed in place.

    Raises:
        UserError: if nothing is left.
    """
    n, warnings = len(decoded.means), []
    finite = finite_rows(decoded)
    bad = n - int(np.count_nonzero(finite))
    if bad and keep_invalid:
        warnings.append(f"{bad} of {n} Gaussians hold numbers that are not finite; they were kept as asked")
    elif bad:
        decoded = Decoded(*(column[finite] for column in decoded.columns()))
        warnings.append(f"{bad} of {n} Gaussians were left out because they hold numbers that are not finite")
    if not len(decoded.means):
        why = "none of them is finite" if n else "it holds none"
        raise UserError(
            f"The file {path.name} has no usable Gaussians",
            why,
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    zero = normalize(decoded.quats)
    if zero:
        warnings.append(f"{zero} Gaussians had a rotation of length zero; they are now unrotated")
    cloud = GaussianCloud(decoded.means, decoded.quats, decoded.scales, decoded.opacities, decoded.sh)
    if np.any(cloud.opacities < 0) or np.any(cloud.opacities > 1):
        np.clip(cloud.opacities, 0, 1, out=cloud.opacities)
        warnings.append("Some opacities were outside 0 to 1; they were clipped")
    return LoadedSplat(cloud, finite if bad and not keep_invalid else None, tuple(warnings))


def finite_rows(gaussians: Decoded | GaussianCloud) -> np.ndarray:
    """[N] bool: rows in which every number is finite."""
    finite = np.ones(len(gaussians.means), bool)
    columns = gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh

    def work(part: slice) -> None:
        for column in columns:
            block = column[part].reshape(part.stop - part.start, -1)
            # One sum says whether a row needs a closer look: NaN and inf survive it.
            with np.errstate(over="ignore", invalid="ignore"):
                doubtful = ~np.isfinite(block.sum(axis=1, dtype=np.float32))
            if doubtful.any():
                finite[part][doubtful] &= np.isfinite(block[doubtful]).all(axis=1)

    over_blocks(len(finite), _BLOCK, work)
    return finite


def normalize(quats: np.ndarray) -> int:
    """Bring quaternions [N,4] to unit length in place; zero ones become the identity. Returns how many were zero."""
    length = np.sqrt(np.einsum("ij,ij->i", quats, quats, dtype=np.float64))
    zero = length < 1e-12
    quats[zero] = (1, 0, 0, 0)
    length[zero] = 1
    quats /= length[:, None]
    return int(zero.sum())
