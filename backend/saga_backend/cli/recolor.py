"""Command `recolor`: recolor a selection by text."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import write_splat
from blender_saga.gaussians.sh import C0

from ..common.device import find_device
from ..rasterizer.select import rasterizer
from ..text.clip_model import open_clip_file
from ..text.cluster_renders import ClipRenderer
from ..text.recolor import RecolorSettings, recolor
from .files import LoggedControl
from .find import clip_path
from .train import select_from_options

log = logging.getLogger(__name__)
_UP = (0.0, -1.0, 0.0)  # y is down in splat files


def run_recolor(options: argparse.Namespace) -> None:
    """Recolor the object under the pixels and write the whole splat.

    Raises:
        UserError: for bad input; no file is written.
    """
    cloud, answer = select_from_options(options)
    device, control = find_device(options.device).name, LoggedControl()
    clip = open_clip_file(clip_path(options), device)
    settings = replace(RecolorSettings(seed=options.seed), **({"steps": options.steps} if options.steps else {}))
    renderer = ClipRenderer(clip, rasterizer(device), _UP)
    texts = (options.source, options.target)
    shift = recolor(cloud.take(np.flatnonzero(answer.mask)), texts, renderer, control, settings)
    control.end()
    for loss in write_splat(options.out, shift_colors(cloud, answer.mask, options.strength * shift)):
        log.warning("%s: %s", options.out.name, loss)
    print(f"{options.out}: {len(shift)} of {len(cloud)} Gaussians recolored")


def shift_colors(cloud: GaussianCloud, mask: np.ndarray, shift: np.ndarray) -> GaussianCloud:
    """The cloud with the colors of the n Gaussians in `mask` [N] bool shifted by [n,3], color units 0..1."""
    sh = cloud.sh.copy()
    sh[mask, 0] += shift / C0
    return GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, sh)
