"""Commands `train`, `select`, `render`."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import format_for, write_splat
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import SelectOptions, TrainSettings, automatic

from ..common.device import find_device
from ..masks.mask_picture import read_mask
from ..methods.checkpoint import Checkpoint, training_key
from ..methods.saga.model import Answer
from ..model import saga_file
from ..model.scene_model import SceneModel
from ..rasterizer.cpu import all_pixels, contributions, render
from ..training.train import train
from .files import LoggedControl, check_fingerprint, check_output, read_labels, read_scene, read_view
from .inputs import Subject, from_photos, photo_frames, sources, view_limit

log = logging.getLogger(__name__)


def train_settings(options: argparse.Namespace) -> TrainSettings:
    """The training settings from the options; 0 stands for the default."""
    return TrainSettings(
        method="saga" if options.method == "auto" else options.method,
        recipe=options.recipe,
        steps=options.steps,
        pixels=options.pixels,
        views=view_limit(options),
        width=options.width,
        height=options.height,
        seed=options.seed,
    )


def run_train(options: argparse.Namespace) -> None:
    """Train on a splat and write the model file.

    Raises:
        UserError: for a bad scene or an output that cannot be written.
    """
    check_output(options.out)
    loaded = read_scene(options.scene)
    cloud, control, settings = loaded.cloud, LoggedControl(), train_settings(options)
    labels = read_labels(options.labels, loaded).values if options.labels else None
    frames = photo_frames(options, cloud) if from_photos(options) else ()
    given, _ = sources(options, Subject(cloud, labels, frames), control)
    device = find_device(options.device)
    log.info("training on: %s", device.note)
    given.device = device.name
    given.checkpoint = Checkpoint(options.out, _key(options, cloud, settings))
    trained = train(cloud, settings, control, given)
    control.end()
    source, as_text = str(options.scene.resolve()), json.dumps(asdict(settings))
    saga_file.save(options.out, trained.model, saga_file.Header(cloud.fingerprint(), source, settings=as_text))
    given.checkpoint.remove()
    for note in given.checkpoint.notes:
        log.info("%s", note)
    durations = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in trained.phases.items())
    coverage = "" if given.views else f", coverage {trained.coverage:.0%}"
    print(f"{options.out}: {trained.masks} masks in {len(trained.views)} views{coverage} ({durations})")


def _key(options: argparse.Namespace, cloud: GaussianCloud, settings: TrainSettings) -> str:
    """The key of the checkpoint: the same command with the same files continues an interrupted training."""
    without = ("scene", "out", "run", "device")
    choices = {name: value for name, value in vars(options).items() if name not in without}
    folders = [path for path in (options.views, options.masks, options.labels) if path and Path(str(path)).exists()]
    return training_key(cloud.fingerprint(), asdict(settings), choices, files=folders)


def run_select(options: argparse.Namespace) -> None:
    """Select the object under some pixels and write it as a splat.

    Raises:
        UserError: for bad input or an empty selection; no file is written.
    """
    cloud, answer = select_from_options(options)
    for loss in write_splat(options.out, cloud.take(answer.mask)):
        log.warning("%s: %s", options.out.name, loss)
    print(
        f"{options.out}: {int(answer.mask.sum())} of {len(cloud)} Gaussians, scale {answer.scale:.2f} "
        f"({answer.size_units:.3g} scene units), threshold {answer.threshold:.2f}"
    )


def select_from_options(options: argparse.Namespace) -> tuple[GaussianCloud, Answer]:
    """The cloud of a model, and the selection under the pixels.

    Raises:
        UserError: for bad input, an output that cannot be written, or an empty selection.
    """
    format_for(options.out)
    check_output(options.out)
    model, header = saga_file.load(options.model)
    view = read_view(options.view)
    scene = options.scene or Path(header.source)
    cloud = read_scene(scene).cloud
    check_fingerprint(cloud, header.fingerprint, options.model, scene)
    answer = _propagate(options, model, cloud, view) if options.mask else _click(options, model, cloud, view)
    if not answer.mask.any():
        raise UserError("Nothing was selected", answer.note, "Click an object, or change scale or threshold")
    return cloud, answer


def _click(options: argparse.Namespace, model: SceneModel, cloud: GaussianCloud, view: View) -> Answer:
    pixels = np.array([*options.pixel, *options.negative], np.int64)
    if not view.contains(pixels).all():
        outside = pixels[~view.contains(pixels)][0].tolist()
        why = f"the view has {view.width} x {view.height} pixels"
        raise UserError(f"Pixel {outside} lies outside the view", why, "Count from 0 at the top left corner")
    positive = np.arange(len(pixels)) < len(options.pixel)
    scale, threshold = automatic(options.scale), automatic(options.threshold)
    how = SelectOptions(options.method, scale, threshold, not options.no_snap)
    return model.select(contributions(cloud, view, pixels), positive, how)


def _propagate(options: argparse.Namespace, model: SceneModel, cloud: GaussianCloud, view: View) -> Answer:
    """The clusters under a mask in the view."""
    if model.levels is None or options.negative:
        what = "--mask and --negative exclude each other" if options.negative else "--mask needs another model"
        raise UserError(what, fix="Use --pixel, or train with --method click-gaussian")
    mask = read_mask(options.mask)
    if mask.shape != (view.height, view.width):
        why = f"it has {mask.shape[1]} x {mask.shape[0]} pixels, the view {view.width} x {view.height}"
        raise UserError(
            f"The mask {options.mask.name} does not fit the view", why, fix="Give a mask of the size of the view"
        )
    return model.levels.propagate(contributions(cloud, view, all_pixels(view)), mask.ravel(), options.scale)


def run_render(options: argparse.Namespace) -> None:
    """Render a splat.

    Raises:
        UserError: for bad input or an output that cannot be written.
    """
    from PIL import Image

    check_output(options.out)
    if options.out.suffix.lower() != ".png":
        raise UserError(f"{options.out} cannot be written", "pictures are PNG files", "Give a name that ends in .png")
    view = read_view(options.view)
    picture = render(read_scene(options.scene).cloud, view)
    rgb = (np.clip(picture.rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
    try:
        Image.fromarray(rgb).save(options.out)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{options.out} cannot be written",
            getattr(error, "strerror", None) or str(error),
            fix="Choose another place for it",
        ) from error
    print(f"{options.out}: {view.width} x {view.height} pixels")
