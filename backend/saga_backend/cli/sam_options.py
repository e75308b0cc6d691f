"""Options of Segment Anything that several commands share, and the file of weights that they mean."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blender_saga.errors import UserError

from .options import count, share


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


def sam_settings(options: argparse.Namespace):
    """The options as SamSettings.

    Raises:
        UserError: if one is out of range.
    """
    from ..masks.sam.settings import SamSettings

    given = {name: getattr(options, name) for name in SamSettings.__dataclass_fields__}
    return SamSettings(**{name: value for name, value in given.items() if value is not None})


def weights_path(options: argparse.Namespace) -> Path:
    """The file of weights that --sam means; an official one is downloaded if the user says yes.

    Raises:
        UserError: if it is not there and not to be had.
    """
    from ..masks.sam.weights import OFFICIAL, download, weights_folder
    from .files import LoggedControl

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
