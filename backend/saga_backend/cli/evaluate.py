"""Command `evaluate`: train or load a model, click, compare with the truth, print the scores."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from blender_saga.errors import UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import SelectOptions, automatic

from ..cameras.photo import Frame, virtual_frames
from ..cameras.read import resize_frames, subsample
from ..common.device import find_device
from ..evaluation.benchmark import KINDS, PromptSettings, Propagator, run_benchmark
from ..evaluation.curve import Snapshots, curve, seconds_to
from ..evaluation.datasets.common import Benchmark
from ..evaluation.instant import InstantJudge
from ..evaluation.pictures import scene_sheet
from ..evaluation.protocol import SWITCH, ProtocolSettings, Selector, Sight, Task, evaluate, observe
from ..evaluation.report import table
from ..evaluation.synthetic import standard_scene
from ..model import saga_file
from ..model.scene_model import SceneModel
from ..training.sources import DEFAULT_VIEWS
from ..training.train import train
from .evaluate_instant import check_instant, instant_damage, instant_judge, instant_masks
from .evaluate_text import TextRun, check_text, judge_texts
from .files import LoggedControl, check_folder, read_labels, read_scene, save_picture
from .inputs import (
    Subject,
    capture_views,
    damage,
    from_photos,
    mask_source,
    photo_cameras,
    photo_frames,
    sources,
    view_limit,
)
from .train import train_settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Scene:
    """The scene of an evaluation: `name` for settings and pictures, object names by level, a benchmark or labels."""

    name: str
    subject: Subject
    names: tuple[dict[int, str], ...] = ({}, {})
    benchmark: Benchmark | None = None


@dataclass(eq=False)
class _Run:
    """The shared state of an evaluation."""

    options: argparse.Namespace
    scene: _Scene
    control: LoggedControl
    snapshots: Snapshots | None = None
    result: dict = field(default_factory=dict)


def run_evaluate(options: argparse.Namespace) -> None:
    """Evaluate and print one line of JSON or a table.

    Raises:
        UserError: for bad input.
    """
    begun, control = time.monotonic(), LoggedControl()
    _check(options)
    run = _Run(options, _scene(options), control)
    model, frames = _model(run)
    if options.text and isinstance(model, SceneModel):
        run.result["rules"] = {}
        run.result["text"] = judge_texts(options, TextRun(run.scene.subject, run.scene.names, model, frames, control))
    elif run.scene.benchmark is None:
        _judge_labels(run, model, frames)
    else:
        _judge_benchmark(run, model)
    control.end()
    run.result |= {
        "seconds": control.seconds | {"total": round(time.monotonic() - begun, 2)},
        "peak_mb": peak_mb(),
        "settings": _settings(run, frames),
    }
    print(json.dumps(run.result) if options.json else table(run.result))


def selector_by(options: argparse.Namespace) -> Callable[[SceneModel | InstantJudge], Selector]:
    """A function that makes the protocol's selector from a model, by the options."""

    def selector_of(model: SceneModel | InstantJudge) -> Selector:
        if isinstance(model, InstantJudge):
            return model.select

        def select(sight: Sight, pixels: np.ndarray, positive: np.ndarray, scale: float | None) -> np.ndarray:
            select_options = SelectOptions(options.method, automatic(scale), snap=not options.no_snap)
            return model.select(sight.rows_at(pixels), positive, select_options).mask

        return select

    return selector_of


def _check(options: argparse.Namespace) -> None:
    """Reject conflicting options, and make the folder for pictures, before any work."""
    options.scene = options.scene or options.splat
    if options.synthetic:
        if options.scene or options.labels or options.model or options.dataset or from_photos(options):
            fix = "Leave out the scene, labels, views of photos, model and dataset"
            raise UserError("--synthetic makes its own scene and labels", fix=fix)
    elif not options.scene or not (options.labels or options.dataset):
        fix = "Give SCENE.ply --labels labels.npy, SCENE.ply --dataset KIND FOLDER, or --synthetic"
        raise UserError("A scene and its labels are needed", fix=fix)
    elif options.labels and options.dataset:
        raise UserError("A dataset has masks of its own", "--labels was given too", "Give only one of them")
    if options.dataset and options.dataset[0] not in KINDS:
        raise UserError(
            f"There is no dataset {options.dataset[0]}", f"the datasets are {', '.join(KINDS)}", fix="Use one of these"
        )
    if options.curve and (options.model or options.dataset):
        raise UserError("There is no curve to draw", "it needs a training on a scene with labels", "Leave out --curve")
    _check_prompt(options)
    check_instant(options)
    if options.method != "instant":
        damage(options)
    check_text(options)
    if options.pictures:
        check_folder(options.pictures)


def _check_prompt(options: argparse.Namespace) -> None:
    if options.prompt == "points":
        return
    if not options.dataset or options.dataset[0] == "nvos":
        fix = "Leave --prompt out, or give --dataset spin-nerf, lerf-mask or 3d-ovs"
        raise UserError("There is no reference mask to propagate", "labels need clicks, and NVOS has scribbles", fix)
    if options.method != "click-gaussian":
        why = f"propagation needs clusters, and the method {options.method} makes none"
        raise UserError("The mask cannot be propagated", why, "Add --method click-gaussian")


def _scene(options: argparse.Namespace) -> _Scene:
    if options.synthetic:
        made = standard_scene(options.objects, view_limit(options) or DEFAULT_VIEWS, options.seed)
        frames = virtual_frames(made.views)
        if options.width or options.height:
            frames = resize_frames(frames, options.width, options.height)
        return _Scene(f"synthetic, {options.objects} objects", Subject(made.cloud, made.labels, frames))
    loaded = read_scene(options.scene)
    if options.dataset:
        return _dataset(options, loaded.cloud)
    labels = read_labels(options.labels, loaded)
    frames = photo_frames(options, loaded.cloud) if from_photos(options) else []
    return _Scene(options.scene.name, Subject(loaded.cloud, labels.values, frames), labels.names)


def _dataset(options: argparse.Namespace, cloud: GaussianCloud) -> _Scene:
    """A scene of a published benchmark, with cameras from --views or from its folder."""
    kind, root = options.dataset[0], Path(options.dataset[1])
    place = Path(options.views) if from_photos(options) else KINDS[kind].cameras_of(root, options.name)
    if place is None:
        why = "its authors publish labels only"
        raise UserError(f"The cameras of {root} are missing", why, "Give the COLMAP or LLFF folder with --views")
    cameras = photo_cameras(place)
    if cameras.missing:  # views have numbers: with gaps, the numbers would mean other photos
        why = f"{cameras.missing} photos are missing"
        raise UserError(f"The scene {place} is not complete", why, "Add the missing photos")
    frames = resize_frames(cameras.frames, options.width, options.height)
    benchmark = KINDS[kind].load(root, options.name, frames)
    for note in benchmark.notes:
        log.warning("%s: %s", benchmark.name, note)
    subject = Subject(cloud, None, subsample(list(benchmark.frames), options.view_limit))
    return _Scene(f"{kind}, {benchmark.name}", subject, benchmark=benchmark)


def _model(run: _Run) -> tuple[SceneModel | InstantJudge, Sequence[Frame]]:
    """The model to judge, and the views of its training."""
    options, subject = run.options, run.scene.subject
    if options.method == "instant":
        return instant_judge(options, subject), subject.frames or capture_views(options, subject.cloud, run.control)
    if options.model:
        model, _ = saga_file.load(options.model, subject.cloud.fingerprint())
        return model, subject.frames or capture_views(options, subject.cloud, run.control)
    given, frames = sources(options, subject, run.control)
    device = find_device(options.device)
    log.info("training on: %s", device.note)
    given.device = device.name
    if options.curve:
        run.snapshots = Snapshots()
        given.publish = (
            run.snapshots.publish_trained if options.method in ("saga", "click-gaussian") else run.snapshots.publish
        )
    trained = train(subject.cloud, train_settings(options), run.control, given)
    if run.snapshots:
        run.snapshots.finish(trained.model)
    return trained.model, frames or virtual_frames(trained.views)


def _judge_labels(run: _Run, model: SceneModel | InstantJudge, frames: Sequence[Frame]) -> None:
    """Judge clicks on labeled objects; adds the curve and the pictures on request."""
    cloud, labels, control = run.scene.subject.cloud, run.scene.subject.labels, run.control
    assert labels is not None  # every scene without a benchmark has them
    sights, seen = observe(cloud, [frame.view for frame in frames], control=control)
    task = Task(labels, seen, sights, run.scene.names)
    by_switch = (
        isinstance(model, SceneModel) and model.levels is not None and run.options.method in ("auto", "click-gaussian")
    )
    settings = ProtocolSettings(clicks=run.options.clicks, by_level=SWITCH if by_switch else ())
    run.result["rules"] = evaluate(selector_by(run.options)(model), task, settings, control)
    if run.snapshots:
        points = curve(run.snapshots, selector_by(run.options), task, control)
        run.result |= {"curve": points, "seconds_to_90": seconds_to(points)}
    if run.options.pictures:
        control.progress("painting", 0, 1)
        picture = scene_sheet(selector_by(run.options)(model), task, cloud, settings)
        if picture is None:
            log.warning("No view shows a labeled object, so there is no picture")
        else:
            log.info("%s", save_picture(run.options.pictures, _title(run), picture))


def _title(run: _Run) -> str:
    """A unique name for the picture: many files are called scene.ply."""
    if run.options.synthetic:
        return f"{run.scene.name}, seed {run.options.seed}"
    return run.scene.name if run.scene.benchmark else f"{run.options.scene.resolve().parent.name}, {run.scene.name}"


def _judge_benchmark(run: _Run, model: SceneModel | InstantJudge) -> None:
    benchmark, options = run.scene.benchmark, run.options
    assert benchmark is not None  # checked by the caller
    propagate = _propagator(model) if options.prompt == "mask" else None
    prompts = PromptSettings(options.points, options.points, options.seed, propagate)
    cloud, selector = run.scene.subject.cloud, selector_by(run.options)(model)
    run.result["rules"], picture = run_benchmark(selector, cloud, benchmark, prompts, run.control)
    if options.pictures:
        log.info("%s", save_picture(options.pictures, _title(run), picture))


def _propagator(model: SceneModel | InstantJudge) -> Propagator:
    levels = model.levels if isinstance(model, SceneModel) else None
    if levels is None:
        fix = "Train with --method click-gaussian"
        raise UserError("The mask cannot be propagated", "the model has no clusters of Click-Gaussian", fix)
    return lambda sight, inside, scale: levels.propagate(sight.rows, inside, scale).mask


def _settings(run: _Run, frames: Sequence[Frame]) -> dict:
    options, scene = run.options, run.scene
    instant = options.method == "instant"
    kind = None if options.model else instant_masks(options) if instant else mask_source(options)
    first = frames[0].view
    return {
        "scene": scene.name,
        "gaussians": len(scene.subject.cloud),
        "objects": options.objects if options.synthetic else None,
        "method": options.method,
        "recipe": None if options.method in ("segments", "instant") else options.recipe,
        "snap": not options.no_snap,
        "model": options.model.name if options.model else None,
        "masks": kind,
        "damage": asdict(instant_damage(options) if instant else damage(options)) if kind == "simulated" else None,
        "views": len(frames),
        "neighbors": options.neighbors if instant else None,
        "cameras": Path(options.views).name if from_photos(options) else None,
        "width": first.width,
        "height": first.height,
        "steps": options.steps or None,
        "pixels": options.pixels or None,
        "clicks": None if scene.benchmark else options.clicks,
        "prompt": options.prompt if scene.benchmark else None,
        "points": options.points if scene.benchmark and options.prompt == "points" else None,
        "seed": options.seed,
    }


def peak_mb() -> float | None:
    """Peak memory of this process, MB; None if the system does not report it (Windows)."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
