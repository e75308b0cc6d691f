"""Benchmark rows for the training: one step, and the memory of the whole training from views to features."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bench_measure import Case, Line, Times, peak_mb, times
from bench_references import PlainTrainer
from bench_scene import BenchScene, bench_scene
from blender_saga.wire.messages import TrainSettings
from saga_backend.common.neighbors import nearest
from saga_backend.common.progress import Control
from saga_backend.methods.saga.batch import Batch, sample, training_view
from saga_backend.methods.saga.prototypes import PrototypeTrainer, find_prototypes
from saga_backend.methods.saga.settings import PAPER, PROTOTYPES
from saga_backend.methods.saga.step import Parameters, Stepper
from saga_backend.methods.saga.torch_step import TorchStepper
from saga_backend.methods.saga.train import scale_quantiles
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels
from saga_backend.rasterizer.select import rasterizer
from saga_backend.segments.builtin.masks import view_masks
from saga_backend.segments.segments import from_levels, scale_table
from saga_backend.training.preparation import SAMPLED_PIXELS
from saga_backend.training.train import Sources, train

_NEIGHBORS = 16
_STEPS = 10
_MEMORY_VIEWS = 100


def training_step(case: Case) -> Iterator[Line]:
    """One step of the recipe of the paper (1,000 pixels of a view, 8 scales), and one on prototypes."""
    scene = bench_scene(case.n, 4)
    rows, labels, scales = seen(scene, case.device)
    neighbors, _ = nearest(scene.cloud.means, _NEIGHBORS)
    random = np.random.default_rng(0)
    features = random.standard_normal((case.n, PAPER.channels), dtype=np.float32)
    gate = random.uniform(-1, 1, (2, PAPER.channels)).astype(np.float32)
    turn = itertools.cycle(_batches(scene, rows, labels, scales))
    ours = stepper(Parameters(features.copy(), gate.copy()), neighbors, case.device)
    pixels = Line("training_step", case, times(lambda: ours.step(next(turn), 1e-3), case.runs(30)), "paper")
    segments = from_levels(labels, scales, np.ones(len(scales)))
    trainer = PrototypeTrainer(find_prototypes(segments, rows), scale_table(segments), PROTOTYPES)
    on_cpu = replace(case, device="cpu")
    coded = Line("training_step", on_cpu, times(lambda: trainer.step(0), case.runs(100)), "prototypes")
    plain = PlainTrainer(Parameters(features, gate), neighbors, case.device)
    reference = times(lambda: plain.step(next(turn)), 3 if case.n > 200_000 else case.runs(10))
    for line in (pixels, coded):
        line.reference = reference
        line.reference_is = "torch autograd, the paper's size: all Gaussians smoothed, all pairs, dense Adam"
        yield line


def stepper(parameters: Parameters, neighbors: np.ndarray, device: str) -> Stepper | TorchStepper:
    """The stepper of the training on a device."""
    return Stepper(parameters, neighbors) if device == "cpu" else TorchStepper(parameters, neighbors, device)


def seen(scene: BenchScene, device: str = "cpu") -> tuple[list[Contributions], np.ndarray, np.ndarray]:
    """Contribution rows of sampled pixels in each view; segments [N,3] (halves, objects, pairs) and their 3D scales."""
    random = np.random.default_rng(0)
    raster, count = rasterizer(device), int(scene.objects.max()) + 1
    left = (
        scene.cloud.means[:, 0]
        > np.bincount(scene.objects, scene.cloud.means[:, 0])[scene.objects]
        / np.bincount(scene.objects).clip(1)[scene.objects]
    )
    labels = [2 * scene.objects + left, 2 * count + scene.objects, 3 * count + scene.objects // 2]
    rows = []
    for view in scene.views:
        pixels = all_pixels(view)[random.permutation(view.width * view.height)[:SAMPLED_PIXELS]]
        rows.append(raster.contributions(scene.cloud, view, pixels))
    return rows, np.stack(labels, axis=1).astype(np.int32), np.repeat([0.3, 0.6, 1.5], [2 * count, count, count])


def _batches(scene: BenchScene, rows: list[Contributions], labels: np.ndarray, scales: np.ndarray) -> list[Batch]:
    """Two batches for each view."""
    masks = [view_masks(view, part, labels, scales) for view, part in zip(scene.views, rows, strict=True)]
    views = [v for v in map(training_view, rows, masks) if v is not None]
    random, quantiles = np.random.default_rng(0), scale_quantiles(masks)
    return [sample(view, quantiles, (PAPER.pixels, PAPER.scales), random) for view in views * 2]


def training_memory(case: Case) -> Iterator[Line]:
    """A training with given views: contribution rows, built-in masks, neighbors, warm start, a few steps."""
    views = 4 if case.quick else _MEMORY_VIEWS
    scene = bench_scene(case.n, views)
    before = peak_mb()
    start, cpu_start = time.perf_counter(), time.process_time()
    control = _PeakMemory()
    settings = TrainSettings(steps=_STEPS, views=views)
    trained = train(scene.cloud, settings, control, Sources(list(scene.views), device=case.device))
    elapsed = round(1e3 * (time.perf_counter() - start), 1)
    cpu = round(1e3 * (time.process_time() - cpu_start), 1)
    line = Line("training_memory", case, Times(elapsed, elapsed, elapsed, cpu))
    line.more = {
        "views": views, "steps": _STEPS, "limit_mb": 6000, "peak_before_mb": before, "peak_mb_after": control.peaks,
        "gpu_peak_mb": gpu_peak_mb(case.device), "seconds": {k: round(v, 1) for k, v in trained.phases.items()},
    }  # fmt: skip
    yield line


class _PeakMemory(Control):
    """Records the peak memory at the end of every phase."""

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
    """Peak GPU memory of torch, MB; None on the CPU."""
    if device == "cpu":
        return None
    import torch

    return round(torch.cuda.max_memory_allocated() / 2**20, 1)
