"""Command `masks`: SAM's masks of a splat's views or photos, as a folder that `train --masks` reads."""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import add_views
from .sam_options import add_sam


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


def _add_engine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("where it is computed")
    group.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="this process, or a Ray cluster (docs/user/cluster.md)",
    )
    group.add_argument("--address", default="", metavar="HOST:PORT", help="of the Ray cluster; default: one is started")


def _masks(options: argparse.Namespace) -> None:
    from .masks_run import run_masks  # torch takes seconds to import, --help must not

    run_masks(options)
