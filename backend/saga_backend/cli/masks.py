"""Command `masks`: SAM's masks of a splat's views or photos, as a folder that `train --masks` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_views
from .sam_options import add_sam


def add_masks(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    masks = commands.add_parser(
        "masks",
        help="find masks with Segment Anything and write them to a folder",
        description="Find masks in photos or views of the splat with Segment Anything and write a file for each view "
        "to a folder, for `train --masks FOLDER`. A second run continues an interrupted one.",
    )
    masks.add_argument("scene", type=Path, metavar="SCENE.ply", help="Gaussian splat of any format")
    masks.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder for the masks")
    masks.add_argument(
        "--sam",
        required=True,
        metavar="WHAT",
        help="a weights file (any SAM 1), or vit_h, vit_l or vit_b: the official file, downloaded after your consent",
    )
    masks.add_argument("--yes", action="store_true", help="download without asking")
    masks.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="folder for downloaded weights (default: the user's cache)"
    )
    masks.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    masks.set_defaults(run=_masks)
    add_views(masks.add_argument_group("views"))
    add_sam(masks)
    _add_engine(masks)


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this process, or a Ray cluster (docs/user/cluster.md)",
    )
    group.add_argument(
        "--address", default="", metavar="HOST:PORT", help="address of the Ray cluster (default: start one)"
    )


def _masks(options: argparse.Namespace) -> None:
    from .masks_run import run_masks  # the import of torch takes seconds, and --help must be quick

    run_masks(options)
