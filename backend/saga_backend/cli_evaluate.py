"""Command `evaluate`: train or load, click, compare with the labels, print."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.errors import UserError

from . import sidecar
from .capture import CaptureSettings, capture
from .cli_files import LoggedControl, read_labels, read_scene
from .cli_train import train_settings
from .device import find_device
from .evaluation.protocol import ProtocolSettings, Selector, Sight, Task, evaluate, observe
from .evaluation.simulated import SimulatedMasks
from .evaluation.synthetic import standard_scene
from .model import AffinityModel
from .training import Sources, train

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is evaluated on; `views` is empty where they are still to be chosen."""

    cloud: GaussianCloud
    labels: np.ndarray
    views: Sequence[View]
    names: tuple[dict[int, str], ...]


def run_evaluate(options: argparse.Namespace) -> None:
    """Evaluate and print one line of JSON or a table.

    Raises:
        UserError: for bad input.
    """
    begun, control = time.monotonic(), LoggedControl()
    scene = _scene(options)
    model, views = _model(options, scene, control)
    sights, seen = observe(scene.cloud, views, control=control)
    task = Task(scene.labels, seen, sights, scene.names)
    rules = evaluate(selector_of(model), task, ProtocolSettings(clicks=options.clicks), control)
    control.end()
    result = {
        "rules": rules,
        "seconds": control.seconds | {"total": round(time.monotonic() - begun, 2)},
        "peak_mb": peak_mb(),
        "settings": _settings(options, scene, views),
    }
    print(json.dumps(result) if options.json else _table(result))


def selector_of(model: AffinityModel) -> Selector:
    """The protocol's selector that a trained model is."""

    def select(sight: Sight, pixels: np.ndarray, positive: np.ndarray, scale: float | None) -> np.ndarray:
        return model.select(sight.rows_at(pixels), positive, scale, None).mask

    return select


def _scene(options: argparse.Namespace) -> _Scene:
    if options.synthetic:
        if options.scene or options.labels or options.model:
            raise UserError("--synthetic makes its own scene and labels", fix="Leave out the scene, labels and model")
        made = standard_scene(options.objects, options.views or 40, options.seed)
        return _Scene(made.cloud, made.labels, made.views, ({}, {}))
    if not options.scene or not options.labels:
        raise UserError("A scene and its labels are needed", fix="Give SCENE.ply --labels labels.npy, or --synthetic")
    loaded = read_scene(options.scene)
    labels = read_labels(options.labels, loaded)
    return _Scene(loaded.cloud, labels.values, (), labels.names)


def _captured(cloud: GaussianCloud, options: argparse.Namespace, control: LoggedControl) -> list[View]:
    settings = CaptureSettings(options.views or 40, options.width or 480, options.height or 360)
    return capture(cloud, settings, control).views


def _masks(options: argparse.Namespace) -> str:
    return options.masks or ("simulated" if options.synthetic else "builtin")


def _model(options: argparse.Namespace, scene: _Scene, control: LoggedControl) -> tuple[AffinityModel, Sequence[View]]:
    """The model to judge, and the views it is judged in."""
    views = scene.views
    if options.model:
        model, _ = sidecar.load(options.model, scene.cloud.fingerprint())
        return model, _captured(scene.cloud, options, control)
    masks = None
    if _masks(options) == "simulated":
        views = views or _captured(scene.cloud, options, control)
        masks = SimulatedMasks(scene.cloud, scene.labels, views, options.seed)
    device = find_device(options.device)
    log.info("training on: %s", device.note)
    sources = Sources(list(views) or None, masks, device=device.name)
    trained = train(scene.cloud, train_settings(options), control, sources)
    return trained.model, trained.views


def _settings(options: argparse.Namespace, scene: _Scene, views: Sequence[View]) -> dict:
    return {
        "scene": f"synthetic, {options.objects} objects" if options.synthetic else options.scene.name,
        "gaussians": len(scene.cloud),
        "method": options.method,
        "model": options.model.name if options.model else None,
        "masks": None if options.model else _masks(options),
        "views": len(views),
        "steps": options.steps or None,
        "clicks": options.clicks,
        "seed": options.seed,
    }


def peak_mb() -> float | None:
    """Largest memory this process has had, MB; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)


def _table(result: dict) -> str:
    keys = ("miou_3d", "miou_3d_all", "miou_2d", "macc_2d", "clicks_to_85", "clicks_to_90")
    lines = [f"{'rule':10} {'level':8} {'thing':20} " + " ".join(f"{key:>12}" for key in keys)]
    for rule, levels in result["rules"].items():
        for level, scores in levels.items():
            for entry in [*scores["per_object"], scores | {"name": "MEAN"}]:
                name = entry["name"] or str(entry["label"])
                values = " ".join(f"{'-' if entry[key] is None else entry[key]:>12}" for key in keys)
                lines.append(f"{rule:10} {level:8} {name[:20]:20} {values}")
    lines.append(f"seconds: {result['seconds']}  peak: {result['peak_mb']} MB")
    return "\n".join(lines)
