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
        description="Train (or take --model), click every labeled thing from a few views, compare with the labels; or "
        "prompt and compare as a published benchmark does.",
    )
    evaluate.add_argument("scene", type=Path, nargs="?", metavar="SCENE.ply", help="splat to judge on")
    evaluate.add_argument("--scene", type=Path, dest="splat", metavar="SCENE.ply", help="the same, as an option")
    evaluate.add_argument("--model", type=Path, metavar="X.saga", help="do not train, take this model")
    evaluate.add_argument("--clicks", type=count, default=3, metavar="N", help="views each thing is clicked in (3)")
    evaluate.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    evaluate.add_argument(
        "--curve",
        action="store_true",
        help="also judge snapshots of the training: step, seconds, mIoU of objects, mIoU of parts",
    )
    evaluate.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="write a picture there: image, truth, result side by side"
    )
    evaluate.add_argument(
        "--text",
        action="store_true",
        help="judge texts instead of clicks: every caption once. The synthetic scene has captions of its own and, "
        "without --clip, a tiny CLIP is fitted first; elsewhere the names of the labels are the captions",
    )
    evaluate.set_defaults(run=_evaluate)
    add_clip(evaluate)
    _add_synthetic(evaluate)
    _add_dataset(evaluate)
    add_inputs(evaluate)
    add_training(evaluate)
    add_method(evaluate, snap=True, instant=True)


def _add_synthetic(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("standard synthetic scene", "--views N and --seed N are its parameters too.")
    group.add_argument("--synthetic", action="store_true", help="evaluate on it")
    group.add_argument("--objects", type=count, default=12, metavar="N", help="how many objects (default: 12)")


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("published benchmarks")
    group.add_argument(
        "--dataset",
        nargs=2,
        metavar=("KIND", "FOLDER"),
        help="nvos, spin-nerf, lerf-mask or 3d-ovs, and the folder as its authors publish it; --views names the "
        "cameras where it has none",
    )
    group.add_argument("--name", default="", metavar="SCENE", help="which scene of the folder, where it has several")
    group.add_argument(
        "--points", type=count, default=5, metavar="N", help="points on the thing, and off it (default: 5)"
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
