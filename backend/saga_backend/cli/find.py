"""Command `find`: text search in a trained splat; and the shared options for CLIP's weights."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from blender_saga.errors import UserError

from .options import count

if TYPE_CHECKING:
    from blender_saga.wire.messages import Candidates

log = logging.getLogger(__name__)


def add_find(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    find = commands.add_parser(
        "find",
        help="find an object by text and write it as a splat",
        description="Rank the objects of a trained splat by their fit to a text, and write the best one as a splat. "
        "The first search builds a CLIP index of the scene and saves it in the .saga file.",
    )
    find.add_argument("model", type=Path, metavar="X.saga", help="trained model (it contains the path of its scene)")
    find.add_argument("text", help='the text, for example "red chair"')
    find.add_argument("--out", type=Path, metavar="found.ply", help="splat to write the best candidate to")
    find.add_argument("--scene", type=Path, metavar="SCENE.ply", help="the splat, if it has moved")
    find.add_argument(
        "--way",
        choices=("auto", "votes", "clusters"),
        default="auto",
        help="'votes': masks of many views vote (needs features); 'clusters': each cluster is drawn alone "
        "(default: votes if there are features)",
    )
    find.add_argument("--limit", type=count, default=8, metavar="N", help="candidates to rank (default: 8)")
    find.add_argument("--pictures", type=Path, metavar="FOLDER", help="write a picture of each candidate there")
    find.add_argument("--json", action="store_true", help="print one line of JSON instead of a table")
    find.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    find.set_defaults(run=_find)
    add_clip(find)


def add_clip(parser: argparse.ArgumentParser) -> None:
    """Add the options for CLIP's weights."""
    group = parser.add_argument_group("CLIP")
    group.add_argument(
        "--clip",
        metavar="WHAT",
        help="an OpenCLIP weights file (a JSON beside it may name its model), or ViT-B-16: the official file, "
        "downloaded after your consent",
    )
    group.add_argument("--yes", action="store_true", help="download without asking")
    group.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="folder for downloaded weights (default: the user's cache)"
    )


def clip_path(options: argparse.Namespace) -> Path:
    """The weights file of --clip; the official file is downloaded with the user's consent.

    Raises:
        UserError: without --clip, or without consent to a necessary download.
    """
    from ..masks.sam.weights import download, weights_folder
    from ..text.clip_files import FIX, OFFICIAL
    from .files import LoggedControl
    from .sam_options import confirm

    if not options.clip:
        raise UserError("Text search needs CLIP", "there is no CLIP weights file", f"{FIX}, with --clip")
    if options.clip != OFFICIAL.kind:
        return Path(options.clip)
    folder = options.weights or weights_folder()
    if (folder / OFFICIAL.name).is_file():
        return folder / OFFICIAL.name
    print(f"{OFFICIAL.sentence()}. The file goes to {folder}.", file=sys.stderr)
    if not options.yes and not confirm("Download it? [y/N] "):
        raise UserError(f"{OFFICIAL.name} is missing", "the download was declined", "Give a file, or add --yes")
    return download(OFFICIAL, folder, LoggedControl())


def _find(options: argparse.Namespace) -> None:
    from .files import check_folder, check_output

    if options.out:
        from blender_saga.gaussians.formats.registry import format_for

        format_for(options.out)
        check_output(options.out)
    if options.pictures:
        check_folder(options.pictures)
    answer = _answer(options)
    lines = [
        {"rank": rank, "score": round(float(score), 4), "gaussians": int(size), "fits": rank <= answer.matches}
        for rank, (score, size) in enumerate(zip(answer.scores, answer.counts, strict=True), start=1)
    ]
    if options.pictures:
        _save_pictures(options, answer)
    if options.json:
        print(json.dumps({"text": answer.text, "way": answer.way, "note": answer.note, "candidates": lines}))
    else:
        for line in lines:
            mark = "" if line["fits"] else "  (does not fit)"
            print(f"{line['rank']:>3}  {line['score']:.2f}  {line['gaussians']:>9,} Gaussians{mark}")
    if not answer.matches:
        raise UserError(answer.note, "no candidate fits better than 'object' or 'stuff'", "Try other words")
    if answer.note:
        log.warning("%s", answer.note)


def _answer(options: argparse.Namespace) -> Candidates:
    """Find the candidates, and write the best one if it fits."""
    import numpy as np

    from blender_saga.gaussians.formats.registry import write_splat
    from blender_saga.wire.messages import Cluster, FindText

    from ..common.device import find_device
    from ..model import saga_file
    from ..model.clustering import divide
    from ..text import answers
    from .files import LoggedControl, check_fingerprint, read_scene

    model, header = saga_file.load(options.model)
    scene, control = options.scene or Path(header.source), LoggedControl()
    request = FindText(
        header.fingerprint, options.text, str(clip_path(options)), str(options.model), options.way, options.limit
    )
    cloud = read_scene(scene).cloud
    check_fingerprint(cloud, header.fingerprint, options.model, scene)
    described = answers.TextIndices()
    described.open(str(options.model), model)
    text_scene = answers.TextScene(
        cloud, model, described, find_device(options.device).name, (0.0, -1.0, 0.0),
        lambda: divide(Cluster(header.fingerprint), cloud, model, control),
    )  # fmt: skip
    answer = answers.find_text(request, text_scene, control)
    control.end()
    if options.out and answer.matches:
        best = np.unpackbits(answer.bits[0], count=len(cloud)).astype(bool)
        for loss in write_splat(options.out, cloud.take(best)):
            log.warning("%s: %s", options.out.name, loss)
    return answer


def _save_pictures(options: argparse.Namespace, answer: Candidates) -> None:
    from .files import save_picture

    for rank, picture in enumerate(answer.thumbnails, start=1):
        save_picture(options.pictures, f"{rank:02} {answer.text}", picture)
