"""The result of reading a splat file of any format, and its creation from decoded columns."""

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
    """The content of a splat file.

    Attributes:
        cloud: the usable Gaussians, in the order of the file and in the axes of PLY files (x right, y down, z forward),
            for every format.
        kept: [file count] bool, the usable Gaussians of the file; None for all.
        warnings: sentences for the user about repaired, omitted or unsupported data.
        format: name of the format in the registry.
        version: version of the format in the file, "" if it has none.
        axes: axis convention of the file, as named in `gaussians.axes`; `cloud` does not use it.
        extras: extra properties of a PLY: [N] values by name, in the order of the cloud.
        rows: [N] structured, the raw rows of an INRIA PLY in the order of the cloud; None for other formats. They may
            be mapped from the file, which must not change then.
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
        """The number of Gaussians in the file, including omitted ones."""
        return len(self.cloud) if self.kept is None else len(self.kept)


@dataclass(eq=False)
class Decoded:
    """Activated columns of all Gaussians of a file, before any checks; shapes as in GaussianCloud."""

    means: np.ndarray
    quats: np.ndarray
    scales: np.ndarray
    opacities: np.ndarray
    sh: np.ndarray

    def columns(self) -> tuple[np.ndarray, ...]:
        """The five arrays."""
        return self.means, self.quats, self.scales, self.opacities, self.sh


def assemble(path: Path, decoded: Decoded, keep_invalid: bool = False) -> LoadedSplat:
    """Drop or repair unusable data, with warnings.

    Rows with non-finite values are dropped (or kept on request); quaternions are normalized, and zero quaternions
    become the identity; opacities are clipped to 0..1. This changes the quaternions in place.

    Raises:
        UserError: if no usable row is left.
    """
    n, warnings = len(decoded.means), []
    finite = finite_rows(decoded)
    bad = n - int(np.count_nonzero(finite))
    if bad and keep_invalid:
        warnings.append(f"{bad} of {n} Gaussians have values that are not finite and were kept, as requested")
    elif bad:
        decoded = Decoded(*(column[finite] for column in decoded.columns()))
        warnings.append(f"{bad} of {n} Gaussians were left out because they have values that are not finite")
    if not len(decoded.means):
        why = "none has finite values" if n else "it contains none"
        raise UserError(
            f"The file {path.name} has no usable Gaussians",
            why,
            fix="Export it again from the trainer",
            code=ErrorCode.BAD_FILE,
        )
    zero = normalize(decoded.quats)
    if zero:
        warnings.append(f"{zero} Gaussians had an invalid rotation (length zero), which was reset")
    cloud = GaussianCloud(decoded.means, decoded.quats, decoded.scales, decoded.opacities, decoded.sh)
    if np.any(cloud.opacities < 0) or np.any(cloud.opacities > 1):
        np.clip(cloud.opacities, 0, 1, out=cloud.opacities)
        warnings.append("Opacities outside 0 to 1 were clipped")
    return LoadedSplat(cloud, finite if bad and not keep_invalid else None, tuple(warnings))


def finite_rows(gaussians: Decoded | GaussianCloud) -> np.ndarray:
    """[N] bool: rows with only finite values."""
    finite = np.ones(len(gaussians.means), bool)
    columns = gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh

    def work(part: slice) -> None:
        for column in columns:
            block = column[part].reshape(part.stop - part.start, -1)
            # A sum shows whether a row needs a check: NaN and inf survive it.
            with np.errstate(over="ignore", invalid="ignore"):
                doubtful = ~np.isfinite(block.sum(axis=1, dtype=np.float32))
            if doubtful.any():
                finite[part][doubtful] &= np.isfinite(block[doubtful]).all(axis=1)

    over_blocks(len(finite), _BLOCK, work)
    return finite


def normalize(quats: np.ndarray) -> int:
    """Normalize quaternions [N,4] in place; zero ones become the identity. Returns the number of zero ones."""
    length = np.sqrt(np.einsum("ij,ij->i", quats, quats, dtype=np.float64))
    zero = length < 1e-12
    quats[zero] = (1, 0, 0, 0)
    length[zero] = 1
    quats /= length[:, None]
    return int(zero.sum())
