"""Options that commands share, and the types of their values."""

from __future__ import annotations

import argparse
from pathlib import Path

METHODS = ("auto", "segments", "saga", "click-gaussian")
RECIPES = ("prototypes", "paper", "three-levels")
FAULTS = ("dropped", "merged", "split", "ragged", "smallest")
"""Options about simulated masks: the fields of evaluation.simulated.MaskDamage, whose module --help must not import."""


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options for views, masks and labels."""
    group = parser.add_argument_group("views and masks")
    add_views(group)
    group.add_argument(
        "--masks",
        metavar="WHAT",
        help="'builtin': segments of the splat itself; 'simulated': the labels with a segmenter's faults; or a "
        "FOLDER with a file for each photo: SAGA's .pt, .png label maps, .npz, run lengths in .json "
        "(default: builtin; simulated for --synthetic)",
    )
    group.add_argument(
        "--labels", type=Path, metavar="labels.npy", help="int [N] object, or [N,2] object and part; 0 = none"
    )
    _add_damage(parser)


def add_views(group: argparse._ArgumentGroup) -> None:
    """Add the options for views."""
    group.add_argument(
        "--views",
        type=view_source,
        metavar="WHAT",
        help="the maximum number of virtual views of the splat, 'virtual' for 40 of them (default), or the cameras of "
        "photos: a transforms.json, a COLMAP folder or an LLFF folder",
    )
    group.add_argument("--view-limit", type=count, default=0, metavar="N", help="at most N views, evenly spaced")
    group.add_argument("--width", type=count, default=0, metavar="PX", help="width of a view, pixels (default: 480)")
    group.add_argument("--height", type=count, default=0, metavar="PX", help="height of a view, pixels (default: 360)")


def _add_damage(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("faults of simulated masks", "The defaults are the values of the standard scene.")
    # The defaults stand in MaskDamage.
    group.add_argument("--dropped", type=share, metavar="S", help="share of missing masks (default: 0.25)")
    group.add_argument("--merged", type=share, metavar="S", help="share of masks joined with a neighbor (default: 0.1)")
    group.add_argument("--split", type=share, metavar="S", help="share of masks cut in two (default: 0.1)")
    group.add_argument(
        "--ragged",
        type=pixels,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="amplitude of the noise of borders, pixels (default: 1 2)",
    )
    group.add_argument("--smallest", type=count, metavar="PX", help="minimum visible pixels of a mask (default: 40)")


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the options of training."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--recipe",
        choices=RECIPES,
        default="prototypes",
        help="training of the features: a code for each segment, the loss of the paper, or Click-Gaussian's variant "
        "with three levels (default: prototypes)",
    )
    group.add_argument("--steps", type=count, default=0, metavar="N", help="optimizer steps (default: by device)")
    group.add_argument("--pixels", type=count, default=0, metavar="N", help="pixels a step (default: by recipe)")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all random numbers (default: 0)")
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="device of the training (default: CUDA if it works)",
    )


def add_method(parser: argparse.ArgumentParser, snap: bool, instant: bool = False) -> None:
    """Add the options for the method of selection; `snap`, `instant`: add snapping and instant select too."""
    parser.add_argument(
        "--method",
        choices=(*METHODS, "instant") if instant else METHODS,
        default="auto",
        help="'segments': the common segments of the masks, without training; 'saga': affinity features; "
        "'click-gaussian': clusters of two levels, by one click; "
        "'auto': segments and features: segments answer a click inside them, features answer other clicks; "
        + ("'instant': lift a mask of the clicked picture, without training; " if instant else "")
        + "(default: auto)",
    )
    if snap:
        parser.add_argument(
            "--no-snap",
            action="store_true",
            help="keep a selection by features as it is (default: replace it by a segment that nearly equals it)",
        )
    if instant:
        parser.add_argument(
            "--sam",
            type=Path,
            metavar="WEIGHTS",
            help="weights of Segment Anything for instant select (default: simulated masks from the labels, with "
            "ragged borders and, unless given, no other faults)",
        )
        parser.add_argument(
            "--neighbors",
            type=int,
            default=8,
            metavar="N",
            help="neighbor views, 0 to 8 (default: 8)",
        )


def view_source(text: str) -> int | str:
    """A number of views, "virtual", or a path."""
    return count(text) if text.lstrip("-").isdigit() else text


def count(text: str) -> int:
    """A positive integer."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def pixels(text: str) -> float:
    """A length in pixels."""
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return value


def cosine(text: str) -> float:
    """A cosine similarity."""
    value = float(text)
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between -1 and 1")
    return value
