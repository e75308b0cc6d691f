"""Options of Segment Anything that commands share, and their weights file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blender_saga.errors import UserError

from .options import count, share


def add_sam(parser: argparse.ArgumentParser) -> None:
    """Add the options of SAM; masks.sam.settings.SamSettings has the defaults."""
    group = parser.add_argument_group("Segment Anything", "The defaults are the values of the SAGA paper.")
    group.add_argument(
        "--points-per-side", type=count, metavar="N", help="size of the grid of point prompts (default: 32)"
    )
    group.add_argument("--iou", type=share, metavar="S", help="minimum quality of a mask by SAM (default: 0.88)")
    group.add_argument("--stability", type=share, metavar="S", help="minimum stability of a mask (default: 0.95)")
    group.add_argument(
        "--nms", type=share, metavar="S", help="minimum IoU of the boxes of duplicate masks (default: 0.7)"
    )
    group.add_argument(
        "--least-area", type=int, metavar="PX", help="remove smaller islands and holes (default: 100; 0: none)"
    )
    group.add_argument("--crop-layers", type=int, metavar="N", help="layers of additional crops (default: 0)")
    group.add_argument(
        "--longest-side",
        type=count,
        metavar="PX",
        help="size of SAM's input: photos are scaled down, views drawn at it (default: 1024)",
    )
    group.add_argument("--batch", type=count, metavar="N", help="point prompts at a time (default: by memory)")


def sam_settings(options: argparse.Namespace):
    """The options as SamSettings.

    Raises:
        UserError: if an option is out of range.
    """
    from ..masks.sam.settings import SamSettings

    given = {name: getattr(options, name) for name in SamSettings.__dataclass_fields__}
    return SamSettings(**{name: value for name, value in given.items() if value is not None})


def weights_path(options: argparse.Namespace) -> Path:
    """The weights file of --sam; an official file is downloaded with the user's consent.

    Raises:
        UserError: without consent to a necessary download.
    """
    from ..masks.sam.weights import OFFICIAL, download, weights_folder
    from .files import LoggedControl

    file = OFFICIAL.get(options.sam)
    if file is None:
        return Path(options.sam)
    folder = options.weights or weights_folder()
    if (folder / file.name).is_file():
        return folder / file.name
    print(f"{file.sentence()}. The file goes to {folder}.", file=sys.stderr)
    if not options.yes and not confirm("Download it? [y/N] "):
        raise UserError(f"{file.name} is missing", "the download was declined", "Give a file, or add --yes")
    return download(file, folder, LoggedControl())


def confirm(question: str) -> bool:
    """Ask for consent on the terminal; False without a terminal."""
    if not sys.stdin.isatty():
        return False
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
