"""The work of the command `masks`."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from blender_saga.errors import UserError

from ..common.device import find_device
from ..masks.cache import MaskCache
from ..masks.extract import Engine, Local, Pictures, extract, tasks_of
from ..masks.sam.generator import fit
from ..masks.sam.model import LoadedSam, open_sam
from ..masks.sam.settings import SamSettings
from ..rasterizer.select import rasterizer
from .checkout import need_checkout
from .files import LoggedControl, read_scene
from .inputs import capture_views, from_photos, photo_frames
from .sam_options import sam_settings, weights_path

log = logging.getLogger(__name__)


def run_masks(options: argparse.Namespace) -> None:
    """Find masks and write them.

    Raises:
        UserError: for a bad scene, weights or settings, unreadable photos, or a folder that cannot be written.
    """
    if options.engine == "ray":
        need_checkout("masks/ray_engine.py", "--engine ray")
    settings, control = sam_settings(options), LoggedControl()
    cache = MaskCache(_folder(options.out))
    device = find_device(options.device)
    weights = weights_path(options)
    sam = open_sam(weights, device.name if options.engine == "local" else "cpu", control)
    log.info("%s: %s; on: %s", weights.name, sam.shape.kind, device.note)
    if options.engine == "local":  # each machine of a cluster has its own memory
        settings, _ = fit(sam, settings)
    cloud = read_scene(options.scene).cloud
    frames = photo_frames(options, cloud) if from_photos(options) else capture_views(options, cloud, control)
    pictures = Pictures(cloud, rasterizer(device.name), settings.longest_side)
    tasks = tasks_of(frames, pictures, settings, sam.sha256)
    done = extract(tasks, cache, _engine(options, weights, sam, settings), pictures, control)
    control.end()
    print(f"{options.out}: masks of {len(tasks)} pictures, {done.reused} of them from an earlier run")


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The masks cannot be written to {path}",
            error.strerror or str(error),
            fix="Choose a folder that you may write to",
        ) from error
    return path


def _engine(options: argparse.Namespace, weights: Path, sam: LoadedSam, settings: SamSettings) -> Engine:
    if options.engine == "local":
        if options.address:
            raise UserError("--address applies to a Ray cluster", "the engine is local", "Add --engine ray")
        return Local(sam, settings)
    from ..masks.ray_engine import RayEngine

    return RayEngine(weights, sam.sha256, settings, options.address)
