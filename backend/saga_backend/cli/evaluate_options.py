"""Command `evaluate`: its options. It stands only in the checkout: see checkout.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from .find import add_clip
from .options import add_inputs, add_method, add_training, count


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    """The command and its options."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure selections against exact labels or a published benchmark",
        description="Train (or load --model), click every labeled object in a few views, and compare with the labels; "
        "or run a published benchmark.",
    )
    evaluate.add_argument("scene", type=Path, nargs="?", metavar="SCENE.ply", help="splat to evaluate on")
    evaluate.add_argument("--scene", type=Path, dest="splat", metavar="SCENE.ply", help="the same, as an option")
    evaluate.add_argument("--model", type=Path, metavar="X.saga", help="evaluate this model without training")
    evaluate.add_argument("--clicks", type=count, default=3, metavar="N", help="clicks on each object (default: 3)")
    evaluate.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    evaluate.add_argument(
        "--curve",
        action="store_true",
        help="also evaluate snapshots of the training: step, seconds, mIoU of objects, mIoU of parts",
    )
    evaluate.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="write a picture to it: image, truth, result side by side"
    )
    evaluate.add_argument(
        "--text",
        action="store_true",
        help="evaluate text search instead of clicks, every caption once. The synthetic scene has captions and, "
        "without --clip, trains a tiny CLIP first; other scenes use the names of their labels",
    )
    evaluate.set_defaults(run=_evaluate)
    add_clip(evaluate)
    _add_synthetic(evaluate)
    _add_dataset(evaluate)
    add_inputs(evaluate)
    add_training(evaluate)
    add_method(evaluate, snap=True, instant=True)


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("standard synthetic scene", "--views N and --seed N also apply to it.")
    group.add_argument("--synthetic", action="store_true", help="evaluate on it")
    group.add_argument("--objects", type=count, default=12, metavar="N", help="number of objects (default: 12)")


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("published benchmarks")
    group.add_argument(
        "--dataset",
        nargs=2,
        metavar=("KIND", "FOLDER"),
        help="nvos, spin-nerf, lerf-mask or 3d-ovs, and the published folder; --views gives the cameras if it has none",
    )
    group.add_argument("--name", default="", metavar="SCENE", help="scene of the folder, if it has several")
    group.add_argument(
        "--points", type=count, default=5, metavar="N", help="points on the object, and as many off it (default: 5)"
    )
    group.add_argument(
        "--prompt",
        choices=("points", "mask"),
        default="points",
        help="'mask': the whole reference mask in place of points (label propagation; with --method click-gaussian)",
    )


def _evaluate(options: argparse.Namespace) -> None:
    from .evaluate import run_evaluate  # the engine takes seconds to import, --help must not

    run_evaluate(options)
