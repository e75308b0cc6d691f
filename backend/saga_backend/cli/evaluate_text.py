"""`evaluate --text`: the accuracy of text search."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender_saga.errors import UserError

from ..cameras.photo import Frame
from ..common.device import find_device
from ..common.progress import Control
from ..evaluation.captions import scene_captions, vocabulary
from ..evaluation.protocol import observe
from ..evaluation.text_search import TextTask, judge_text, text_task
from ..model.scene_model import SceneModel
from ..rasterizer.select import rasterizer
from ..text.clip_model import LoadedClip, open_clip_file
from ..text.mask_vectors import TextSources
from .find import clip_path
from .inputs import Subject, capture_views, sources


@dataclass(frozen=True, eq=False)
class TextRun:
    """The input of the text evaluation: scene, names by label for each level, model, and the views of its training."""

    subject: Subject
    names: tuple[dict[int, str], ...]
    model: SceneModel
    frames: Sequence[Frame]
    control: Control


def check_text(options: argparse.Namespace) -> None:
    """Reject options that conflict with --text.

    Raises:
        UserError: if there are any.
    """
    if options.text and (options.dataset or options.curve or options.pictures):
        raise UserError("--text judges captions of labels", fix="Leave out the dataset, curve and pictures")
    if options.text and options.method == "instant":
        raise UserError("Instant select has no text search", fix="Choose another method")
    if not options.text and options.clip:
        raise UserError("--clip applies to --text", fix="Add --text, or leave it out")
    if options.text and not (options.synthetic or options.clip):
        clip_path(options)  # raises without --clip


def judge_texts(options: argparse.Namespace, run: TextRun) -> dict:
    """The entry `text` of an evaluation (evaluation.text_search).

    Raises:
        UserError: for bad weights, or if the labels have no names.
    """
    cloud, frames = run.subject.cloud, list(run.frames) or capture_views(options, run.subject.cloud, run.control)
    views = [frame.view for frame in frames]
    clip = _clip(options, run.control)
    task = _task(options, run, observe(cloud, views, 1, run.control)[1])
    masks = None if options.model else sources(options, run.subject, run.control)[0].masks
    raster = rasterizer(find_device(options.device).name)
    return judge_text(TextSources(cloud, run.model, views, raster, masks), clip, task, run.control)


def _task(options: argparse.Namespace, run: TextRun, visible: np.ndarray) -> TextTask:
    labels = run.subject.labels
    assert labels is not None  # `check_text` rejects datasets
    if options.synthetic:
        parts = labels[:, 1]
        return text_task(parts, scene_captions(run.subject.cloud, parts), vocabulary(), visible)
    names = run.names[0]
    if not names:
        why, fix = "the labels have no names", "Put an objects.json beside them"
        raise UserError("There are no captions to search for", why, fix)
    return text_task(labels.reshape(len(labels), -1)[:, 0], names, [], visible)


def _clip(options: argparse.Namespace, control: Control) -> LoadedClip:
    """The given CLIP; without --clip a tiny CLIP, trained now and read from a file like any other."""
    device = find_device(options.device).name
    if options.clip:
        return open_clip_file(clip_path(options), device)
    from ..tools.tiny_clip import fit, save

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny_clip.pt"
        save(fit(control=control), path)
        return open_clip_file(path, device)
