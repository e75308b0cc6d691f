"""Benchmark row for clicks on segments, without a training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench_measure import Case, Line, Times, times
from bench_scene import BenchScene, bench_scene
from bench_training import seen
from blender_saga.gaussians import selection
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import SelectOptions
from saga_backend.common.progress import Control
from saga_backend.masks.sampled import SampledMasks
from saga_backend.model.scene_model import SceneModel
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.rasterizer.select import CPU
from saga_backend.segments.builtin.masks import view_masks
from saga_backend.segments.segments import from_levels, scale_table
from saga_backend.training.preparation import picture_masks, rasterize

_SLOW = 200_000
"""Above this number of Gaussians, only clicks are timed: segments of a million from 200 views take minutes."""


def evidence(case: Case) -> Iterator[Line]:
    """A click on segments (40 views at 100 k, 200 at a million), and the way from masks to the first selection."""
    views = 4 if case.quick else 40 if case.n <= _SLOW else 200
    scene, on_cpu = bench_scene(case.n, views), replace(case, device="cpu")
    rows, labels, scales = seen(scene)
    segments = from_levels(labels, scales, np.ones(len(scales)))
    model = SceneModel(segments, scale_table(segments))
    view = scene.views[0]
    pixel = np.array([[view.width // 2, view.height // 2]], np.int32)

    def click() -> np.ndarray:
        row = contributions(scene.cloud, view, pixel)
        return selection.pack(model.select(row, np.ones(1, bool), SelectOptions("segments")).mask)

    selected = selection.unpack(click(), case.n)
    more = {
        "views": views,
        "segments": len(segments),
        "selected": int(selected.sum()),
        "limit_ms": 50 if views < 200 else 150,
    }
    vote = Line("evidence", on_cpu, times(click, case.runs(50)), "vote", more=more)
    masks = [view_masks(v, part, labels, scales) for v, part in zip(scene.views, rows, strict=True)]
    seed = contributions(scene.cloud, view, pixel).total_weight(case.n)
    vote.reference = times(lambda: _plain_vote(rows, masks, seed, 0.6), case.runs(3))
    vote.reference_is = "numpy: the votes of all views' masks counted from their rows, anew for each click"
    yield vote
    if case.n <= _SLOW:
        yield _from_masks(scene, on_cpu, labels)


def _from_masks(scene: BenchScene, case: Case, labels: np.ndarray) -> Line:
    """The time from given masks and contribution rows to the answer of the first click."""
    pictures = _Pictures(scene, labels)
    rasterized = rasterize(scene.cloud, scene.views, CPU, 0, Control())
    view = scene.views[0]
    pixel = np.array([[view.width // 2, view.height // 2]], np.int32)
    answers = []

    def first_click() -> None:
        found = picture_masks(rasterized, pictures, CPU, Control())
        model = SceneModel(found.segments, scale_table(found.segments))
        answers.append(
            (model.select(contributions(scene.cloud, view, pixel), np.ones(1, bool)).mask, len(found.segments))
        )

    start, cpu_start = time.perf_counter(), time.process_time()  # one run, because it takes seconds
    first_click()
    elapsed, cpu = (
        round(1e3 * (end - begin), 1) for end, begin in ((time.perf_counter(), start), (time.process_time(), cpu_start))
    )
    line = Line("evidence", case, Times(elapsed, elapsed, elapsed, cpu), "masks_to_first_selection")
    line.more = {"views": len(scene.views), "segments": answers[-1][1], "limit_ms": 5000}
    line.more["selected"] = int(answers[-1][0].sum())
    return line


@dataclass(eq=False)
class _Pictures(Sequence):
    """Masks [M,H,W] of every view; each access makes them from label maps."""

    scene: BenchScene
    labels: np.ndarray

    def __post_init__(self) -> None:
        self._maps = [self._map(view) for view in self.scene.views]

    def _map(self, view: View) -> np.ndarray:
        rows = contributions(self.scene.cloud, view, all_pixels(view))
        at_pixels = rows.strongest(self.labels)
        at_pixels[rows.alphas() < 0.5] = -1
        return at_pixels.T.reshape(-1, view.height, view.width)

    def __len__(self) -> int:
        return len(self._maps)

    def __getitem__(self, index: int) -> np.ndarray:
        levels = self._maps[index]
        return np.stack([level == k for level in levels for k in np.unique(level) if k >= 0])


def _plain_vote(rows: list[Contributions], masks: list[SampledMasks], seed: np.ndarray, scale: float) -> np.ndarray:
    """The formula of the design, view by view: the mask with the click and the nearest scale votes."""
    inside, shown = np.zeros(len(seed)), np.zeros(len(seed))
    for part, view in zip(rows, masks, strict=True):
        members = view.members()
        pixels = np.repeat(np.arange(len(part)), np.diff(part.offsets))
        at_pixels = np.bincount(pixels, part.weights * seed[part.ids], minlength=len(part))
        clicked = at_pixels @ members > 0.5 * max(at_pixels.sum(), 1e-9)
        near = clicked & (np.abs(np.log(view.scales / scale)) < np.log(1.6))
        if not near.any():
            continue
        best = np.flatnonzero(near)[np.argmin(np.abs(np.log(view.scales[near] / scale)))]
        inside += np.bincount(part.ids, part.weights * members[pixels, best], minlength=len(seed))
        shown += np.bincount(part.ids, part.weights, minlength=len(seed))
    return np.packbits(inside > 0.5 * np.maximum(shown, 1e-9))
