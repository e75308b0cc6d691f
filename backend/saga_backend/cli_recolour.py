"""Command `recolour`: the colours of a selection are led from one text to another."""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.formats.registry import write_splat
from blender_saga.gaussians.sh import C0

from .cli_files import LoggedControl
from .cli_find import clip_path
from .cli_train import selected
from .device import find_device
from .rasteriser import rasteriser
from .text.clip_model import open_clip_file
from .text.recolour import RecolourSettings, recolour

log = logging.getLogger(__name__)
_UP = (0.0, -1.0, 0.0)  # y is down in splat files


def run_recolour(options: argparse.Namespace) -> None:
    """Recolour what is under the pixels and write the whole splat.

    Raises:
        UserError: for bad input; then no file is written.
    """
    cloud, answer = selected(options)
    device, control = find_device(options.device).name, LoggedControl()
    clip = open_clip_file(clip_path(options), device)
    settings = replace(RecolourSettings(seed=options.seed), **({"steps": options.steps} if options.steps else {}))
    seeing = (clip, rasteriser(device), _UP)
    texts = (options.source, options.target)
    shift = recolour(cloud.take(np.flatnonzero(answer.mask)), texts, seeing, control, settings)
    control.end()
    for loss in write_splat(options.out, shifted(cloud, answer.mask, options.strength * shift)):
        log.warning("%s: %s", options.out.name, loss)
    print(f"{options.out}: {len(shift)} of {len(cloud)} Gaussians recoloured")


def shifted(cloud: GaussianCloud, mask: np.ndarray, shift: np.ndarray) -> GaussianCloud:
    """The cloud with the colours of the Gaussians `mask` [N] bool, n of them, shifted by [n,3], colour units 0..1."""
    sh = cloud.sh.copy()
    sh[mask, 0] += shift / C0
    return GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, sh)
