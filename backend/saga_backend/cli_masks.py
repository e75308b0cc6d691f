"""Command `masks`: SAM's masks of a splat's views or photos, as a folder that `train --masks` reads."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from blender_saga.wire.errors import UserError

from .cli_options import add_views, count, share

log = logging.getLogger(__name__)


def add_masks(commands: argparse._SubParsersAction) -> None:
    """The command and its options."""
    masks = commands.add_parser(
        "masks",
        help="find masks with Segment Anything and write them to a folder",
        description="Find masks in photos or views of the splat with Segment Anything and write a file for each to a "
        "folder, for `train --masks FOLDER`. Run again, it goes on where it ended.",
    )
    masks.add_argument("scene", type=Path, metavar="SCENE.ply", help="Gaussian splat of any format")
    masks.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the masks go")
    masks.add_argument(
        "--sam",
        required=True,
        metavar="WHAT",
        help="a file of weights (any SAM 1), or vit_h, vit_l or vit_b: the official file, downloaded after you say yes",
    )
    masks.add_argument("--yes", action="store_true", help="download without asking")
    masks.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="where downloaded weights are kept (default: the user's cache)"
    )
    masks.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    masks.set_defaults(run=_masks)
    add_views(masks.add_argument_group("views"))
    add_sam(masks)
    _add_engine(masks)


def add_sam(parser: argparse.ArgumentParser) -> None:
    """How SAM finds masks. The defaults stand in masks.sam_settings.SamSettings."""
    group = parser.add_argument_group("Segment Anything", "The defaults are those of the paper (SAGA).")
    group.add_argument("--points-per-side", type=count, metavar="N", help="grid of points asked (default: 32)")
    group.add_argument("--iou", type=share, metavar="S", help="lowest quality that SAM gives a mask (default: 0.88)")
    group.add_argument("--stability", type=share, metavar="S", help="lowest stability of a mask (default: 0.95)")
    group.add_argument("--nms", type=share, metavar="S", help="IoU of boxes from which masks are one (default: 0.7)")
    group.add_argument(
        "--least-area", type=int, metavar="PX", help="islands and holes below this go (default: 100; 0: none)"
    )
    group.add_argument("--crop-layers", type=int, metavar="N", help="ask in N layers of crops too (default: 0)")
    group.add_argument(
        "--longest-side", type=count, metavar="PX", help="size for SAM: photos are made smaller, views drawn so (1024)"
    )
    group.add_argument("--batch", type=count, metavar="N", help="points at a time (default: what memory allows)")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it is computed")
    group.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="this process, or a Ray cluster (docs/cluster.md)"
    )
    group.add_argument("--address", default="", metavar="HOST:PORT", help="of the Ray cluster; default: one is started")


def sam_settings(options: argparse.Namespace):
    """The options as SamSettings.

    Raises:
        UserError: if one is out of range.
    """
    from .masks.sam_settings import SamSettings

    given = {name: getattr(options, name) for name in SamSettings.__dataclass_fields__}
    return SamSettings(**{name: value for name, value in given.items() if value is not None})


def _masks(options: argparse.Namespace) -> None:
    from .cli_masks_run import run_masks  # torch takes seconds to import, --help must not

    run_masks(options)


def weights_path(options: argparse.Namespace) -> Path:
    """The file of weights that --sam means; an official one is downloaded if the user says yes.

    Raises:
        UserError: if it is not there and not to be had.
    """
    from .cli_files import LoggedControl
    from .masks.sam_files import OFFICIAL, download, weights_folder

    file = OFFICIAL.get(options.sam)
    if file is None:
        return Path(options.sam)
    folder = options.weights or weights_folder()
    if (folder / file.name).is_file():
        return folder / file.name
    print(f"{file.sentence()}. It would be kept in {folder}.", file=sys.stderr)
    if not options.yes and not says_yes("Download it? [y/N] "):
        raise UserError(f"{file.name} is not here", "it was not to be downloaded", "Give a file, or say --yes")
    return download(file, folder, LoggedControl())


def says_yes(question: str) -> bool:
    """Ask on the terminal; where there is none nobody says yes."""
    if not sys.stdin.isatty():
        return False
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
