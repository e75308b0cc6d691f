"""Benchmark rows about training: one step, and memory of the whole way from views to features."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from bench_measure import Case, Line, Times, peak_mb, times
from bench_references import PlainTrainer
from bench_scene import BenchScene, bench_scene
from saga_backend.control import Control
from saga_backend.masks.builtin import view_masks
from saga_backend.methods.saga.batch import Batch, sample, training_view
from saga_backend.methods.saga.step import Parameters
from saga_backend.methods.saga.train import SagaSettings, _stepper, scale_quantiles
from saga_backend.neighbours import nearest
from saga_backend.raster import all_pixels
from saga_backend.rasteriser import rasteriser
from saga_backend.training import POOL_PIXELS, Sources, train

from blender_saga.wire.messages import TrainSettings

_NEIGHBOURS = 16
_STEPS = 10
_MEMORY_VIEWS = 100


def training_step(case: Case) -> Iterator[Line]:
    """One step of the default size (512 pixels, 8 scales) on views of the scene."""
    scene = bench_scene(case.n, 4)
    batches = _batches(scene, case)
    neighbours, _ = nearest(scene.cloud.means, _NEIGHBOURS)
    random = np.random.default_rng(0)
    features = random.standard_normal((case.n, 32), dtype=np.float32)
    gate = random.uniform(-1, 1, (2, 32)).astype(np.float32)
    ours = _stepper(Parameters(features.copy(), gate.copy()), neighbours, case.device)
    turn = iter(batches * 1000)
    line = Line("training_step", case, times(lambda: ours.step(next(turn), 1e-3), case.runs(30)))

    plain = PlainTrainer(Parameters(features, gate), neighbours, case.device)
    line.reference = times(lambda: plain.step(next(turn)), 3 if case.n > 200_000 else case.runs(10))
    line.reference_is = "torch autograd: all Gaussians smoothed, all pairs, dense Adam"
    yield line


def _batches(scene: BenchScene, case: Case) -> list[Batch]:
    """Two batches a view; masks are the objects and the whole, as two levels."""
    views = []
    masks = []
    random = np.random.default_rng(0)
    labels = np.stack([scene.objects, np.full(case.n, scene.objects.max() + 1)], axis=1).astype(np.int32)
    scales = np.append(np.linspace(0.5, 1, labels[0, 1]), 5.0)
    for view in scene.views:
        chosen = random.choice(view.width * view.height, POOL_PIXELS, replace=False)
        rows = rasteriser(case.device).contributions(scene.cloud, view, all_pixels(view)[chosen])
        masks.append(view_masks(view, rows, labels, scales))
        views.append(training_view(rows, masks[-1]))
    quantiles = scale_quantiles(masks)
    defaults = SagaSettings()
    counts = (defaults.pixels, defaults.scales)
    return [sample(view, quantiles, counts, random) for view in views * 2 if view is not None]


def training_memory(case: Case) -> Iterator[Line]:
    """Views given, then all the rest: rows, built-in masks, neighbours, warm start, a few steps."""
    views = 4 if case.quick else _MEMORY_VIEWS
    scene = bench_scene(case.n, views)
    before = peak_mb()
    began, worked = time.perf_counter(), time.process_time()
    control = _Watch()
    settings = TrainSettings(steps=_STEPS, views=views)
    trained = train(scene.cloud, settings, control, Sources(list(scene.views), device=case.device))
    spent = round(1e3 * (time.perf_counter() - began), 1)
    work = round(1e3 * (time.process_time() - worked), 1)
    line = Line("training_memory", case, Times(spent, spent, spent, work))
    line.more = {
        "views": views, "steps": _STEPS, "limit_mb": 6000, "peak_before_mb": before, "peak_mb_after": control.peaks,
        "gpu_peak_mb": gpu_peak_mb(case.device), "seconds": {k: round(v, 1) for k, v in trained.phases.items()},
    }  # fmt: skip
    yield line


class _Watch(Control):
    """Notes the peak at the end of every phase."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: dict[str, float | None] = {}
        self._phase = ""

    def progress(self, phase: str, step: int, total: int) -> None:
        super().progress(phase, step, total)
        if phase != self._phase and self._phase:
            self.peaks[self._phase] = peak_mb()
        self._phase = phase


def gpu_peak_mb(device: str) -> float | None:
    """MB that torch held on the GPU at most."""
    if device == "cpu":
        return None
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20, 1)
