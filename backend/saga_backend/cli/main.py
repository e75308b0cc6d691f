"""The command line, for use without Blender and for benchmarks: train, select, recolor, find, evaluate, render, masks,
serve, convert, info.

Results go to standard output, everything else to standard error. Exit codes: 0 done, 2 a user error (one sentence on
standard error), 130 interrupted; any other exit code is a bug and shows a traceback.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from blender_saga.errors import Cancelled, UserError

from .checkout import in_checkout
from .convert import add_convert, add_info
from .find import add_clip, add_find
from .masks import add_masks
from .options import add_inputs, add_method, add_training, cosine, count, share
from .serve import add_serve

_VIEW_FORMAT = """\
A view file is JSON, in the axes and units of the scene file, in one of two forms:
  {"eye": [x, y, z], "target": [x, y, z], "up": [0, -1, 0], "fov": 50, "width": 960, "height": 720}
      fov: horizontal field of view, degrees; width, height: pixels; "up" is optional (files are y down)
  {"viewmat": [[...] x 4], "K": [[...] x 3], "width": 960, "height": 720, "orthographic": false}
      viewmat: world to camera, OpenCV axes (x right, y down, z forward); K: intrinsics in pixels
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the arguments after the program name; None: those of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        options.run(options)
    except UserError as error:
        print(f"saga_backend: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, Cancelled):
        print("saga_backend: interrupted, no file was changed", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    from .train import run_train  # the import takes seconds, and --help must be quick

    run_train(options)


def _select(options: argparse.Namespace) -> None:
    from .train import run_select

    run_select(options)


def _recolor(options: argparse.Namespace) -> None:
    from .recolor import run_recolor

    run_recolor(options)


def _render(options: argparse.Namespace) -> None:
    from .train import run_render

    run_render(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="saga_backend", description="Select objects in Gaussian splats.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_select(commands)
    _add_recolor(commands)
    if in_checkout("cli/evaluate.py"):
        from .evaluate_options import add_evaluate

        add_evaluate(commands)
    _add_render(commands)
    add_find(commands)
    add_masks(commands)
    add_serve(commands)
    add_convert(commands)
    add_info(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    train = commands.add_parser(
        "train",
        help="train the segmentation of a splat and write a .saga file",
        description="Render views of the splat, find masks in them, train features, and write a .saga file.",
    )
    train.add_argument("scene", type=Path, metavar="SCENE.ply", help="Gaussian splat of any format")
    train.add_argument("--out", type=Path, required=True, metavar="X.saga", help="model file to write")
    train.set_defaults(run=_train)
    add_inputs(train)
    add_training(train)
    add_method(train, snap=False)


def _add_select(commands: argparse._SubParsersAction) -> None:
    select = commands.add_parser(
        "select",
        help="select the object under some pixels and write it as a splat",
        description="Select the object under the given pixels of a view and write it as a splat.",
        epilog=_VIEW_FORMAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_where(select)
    select.add_argument(
        "--out", type=Path, required=True, metavar="selected.ply", help="splat to write, also .spz, .glb"
    )
    select.set_defaults(run=_select)


def _add_recolor(commands: argparse._SubParsersAction) -> None:
    recolor = commands.add_parser(
        "recolor",
        help="recolor the object under some pixels by text",
        description="Select the object under the given pixels and change its colors, not its shape, from one text to "
        'another with CLIP: --from "red box" --to "blue box". Writes the whole splat.',
        epilog=_VIEW_FORMAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_where(recolor)
    recolor.add_argument("--from", dest="source", required=True, metavar="TEXT", help="its current look")
    recolor.add_argument("--to", dest="target", required=True, metavar="TEXT", help="its new look")
    recolor.add_argument(
        "--strength", type=share, default=1.0, metavar="S", help="share of the change, 0 to 1 (default: 1)"
    )
    recolor.add_argument("--steps", type=count, default=0, metavar="N", help="optimizer steps (default: 80)")
    recolor.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the order of the views (default: 0)")
    recolor.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    recolor.add_argument("--out", type=Path, required=True, metavar="new.ply", help="splat to write")
    recolor.set_defaults(run=_recolor)
    add_clip(recolor)


def _add_where(select: argparse.ArgumentParser) -> None:
    """Add the options of a selection: the model and the click."""
    select.add_argument("model", type=Path, metavar="X.saga", help="trained model (it contains the path of its scene)")
    select.add_argument("--view", type=Path, required=True, metavar="view.json", help="view of the pixels, see below")
    where = select.add_mutually_exclusive_group(required=True)
    _add_pixels(where, "--pixel", "click on this pixel, counted from the top left corner; may be repeated")
    where.add_argument(
        "--mask",
        type=Path,
        metavar="mask.png",
        help="mask of the object, white in a picture of the view's size: selects its clusters (Click-Gaussian only)",
    )
    _add_pixels(select, "--negative", "a pixel to exclude from the selection; may be repeated")
    select.add_argument(
        "--scale", type=share, metavar="S", help="granularity, 0 (parts) to 1 (largest objects); default: automatic"
    )
    select.add_argument(
        "--threshold", type=cosine, metavar="T", help="minimum cosine similarity of a selected Gaussian, -1 to 1"
    )
    select.add_argument("--scene", type=Path, metavar="SCENE.ply", help="the splat, if it has moved")
    add_method(select, snap=True)


def _add_pixels(parser: argparse._ActionsContainer, name: str, text: str) -> None:
    text = f"{text} (pixels: column, row)"
    parser.add_argument(name, nargs=2, type=int, action="append", metavar=("X", "Y"), default=[], help=text)


def _add_render(commands: argparse._SubParsersAction) -> None:
    render = commands.add_parser(
        "render",
        help="render a splat, to find the pixel to click",
        description="Render a splat from a view.",
        epilog=_VIEW_FORMAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    render.add_argument("scene", type=Path, metavar="SCENE.ply", help="Gaussian splat of any format")
    render.add_argument("--view", type=Path, required=True, metavar="view.json", help="the view, see below")
    render.add_argument("--out", type=Path, required=True, metavar="picture.png", help="picture to write")
    render.set_defaults(run=_render)
