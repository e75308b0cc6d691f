"""`convert` and `info`: convert a splat file, or print its contents. Neither needs torch."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.formats.registry import PLY, WriteOptions, format_for, read_splat, write_splat
from blender_saga.gaussians.loaded import LoadedSplat
from blender_saga.gaussians.ply import write_rows
from blender_saga.gaussians.transforms import transform_cloud

from .files import check_output

log = logging.getLogger(__name__)

_READ = "PLY (also compressed), SPZ, .splat, .ksplat, SOG or glTF; recognized by its content"
_WRITTEN = "the ending sets the format: .ply, .compressed.ply, .spz, .splat or .glb"


def add_convert(commands: argparse._SubParsersAction) -> None:
    """Add the command `convert`."""
    convert = commands.add_parser(
        "convert",
        help="write a splat file in another format, with an optional transform",
        description="Read a splat of any format and write it in another. An unchanged PLY keeps its vertex data byte "
        "for byte.",
    )
    convert.add_argument("source", type=Path, metavar="IN", help=_READ)
    convert.add_argument("target", type=Path, metavar="OUT", help=_WRITTEN)
    convert.add_argument(
        "--matrix",
        type=Path,
        metavar="m.json",
        help="transform by this matrix: 4 rows of 4 numbers, in the axes of PLY files (x right, y down, z forward); "
        "rotation, scale, mirror and shear also act on rotations and spherical harmonics",
    )
    convert.add_argument(
        "--sh-degree", type=int, choices=range(5), metavar="D", help="drop spherical harmonics above this degree"
    )
    convert.add_argument(
        "--spz-version", type=int, choices=(3, 4), default=3, help="version of an SPZ output (default: 3)"
    )
    convert.add_argument(
        "--keep-invalid",
        action="store_true",
        help="keep Gaussians with numbers that are not finite (default: drop them)",
    )
    convert.set_defaults(run=_convert)


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the command `info`."""
    info = commands.add_parser(
        "info", help="print the contents of a splat file", description="Print the contents of a splat file."
    )
    info.add_argument("source", type=Path, metavar="FILE", help=_READ)
    info.add_argument("--json", action="store_true", help="print one line of JSON")
    info.set_defaults(run=_info)


def _convert(options: argparse.Namespace) -> None:
    kind = format_for(options.target)  # before the work: a wrong ending, a missing folder
    check_output(options.target)
    matrix = None if options.matrix is None else read_matrix(options.matrix)
    loaded = read_splat(options.source, options.keep_invalid)
    _warn(options.source, loaded.warnings)
    cloud = loaded.cloud
    if options.sh_degree is not None:
        cloud = cloud.with_degree(options.sh_degree)
    if matrix is not None:
        cloud = transform_cloud(cloud, matrix)
    if kind is PLY and cloud is loaded.cloud and loaded.rows is not None:
        write_rows(options.target, loaded.rows, options.source)
    else:
        _warn(options.target, write_splat(options.target, cloud, WriteOptions(loaded.extras, options.spz_version)))
    log.info("%s: %d Gaussians, %s to %s", options.target.name, len(cloud), loaded.format, kind.name)


def _warn(path: Path, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        log.warning("%s: %s", path.name, warning)


def read_matrix(path: Path) -> np.ndarray:
    """[4,4] float64 from a JSON file: 4 rows of 4 numbers, or {"matrix": rows}.

    Raises:
        UserError: if it cannot be read, is no matrix, or its last row is not 0 0 0 1.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        matrix = np.array(values["matrix"] if isinstance(values, dict) else values, np.float64)
    except OSError as error:
        raise UserError(
            f"The matrix {path} cannot be read",
            error.strerror or str(error),
            fix="Check that the file exists and that you may read it",
            code=ErrorCode.FILE,
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"The matrix {path.name} cannot be used",
            f"it is no JSON of numbers ({error})",
            fix="Give 4 rows of 4 numbers",
        ) from error
    if matrix.shape != (4, 4) or not np.array_equal(matrix[3], (0, 0, 0, 1)):
        why = f"its shape is {list(matrix.shape)}" if matrix.shape != (4, 4) else "its last row is not 0 0 0 1"
        raise UserError(f"The matrix {path.name} cannot be used", why, "Give 4 rows of 4 numbers")
    return matrix


def _info(options: argparse.Namespace) -> None:
    facts = describe(read_splat(options.source))
    if options.json:
        print(json.dumps(facts))
        return
    for key, value in facts.items():
        print(f"{key}: {'; '.join(value) if key == 'warnings' else value}")


def describe(loaded: LoadedSplat) -> dict[str, Any]:
    """The facts that `info` prints.

    Returns:
        `format`, `version`, `count` (of the file, with unusable Gaussians), `sh_degree`, `bounds` (smallest and largest
        center [2,3] of the usable Gaussians, in the axes of PLY files), `warnings`.
    """
    means = loaded.cloud.means
    return {
        "format": loaded.format,
        "version": loaded.version,
        "count": loaded.file_count,
        "sh_degree": loaded.cloud.sh_degree,
        "bounds": [(means.min(axis=0) + 0.0).tolist(), (means.max(axis=0) + 0.0).tolist()],
        "warnings": list(loaded.warnings),
    }
