"""Benchmark row about selecting by the masks themselves, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from bench_measure import Case, Line, times
from bench_scene import BenchScene, bench_scene
from saga_backend.masks.builtin import view_masks
from saga_backend.masks.pool import PoolMasks
from saga_backend.methods.evidence.incidence import incidence
from saga_backend.methods.evidence.votes import first_vote, refine
from saga_backend.raster import all_pixels, contributions
from saga_backend.rows import Rows
from saga_backend.training import POOL_PIXELS

from blender_saga.gaussians import selection


def evidence(case: Case) -> Iterator[Line]:
    """From masks to the first vote, a vote after a click, its refinement: 40 views at 100 k, 200 at a million."""
    views = 4 if case.quick else 40 if case.n <= 200_000 else 200
    scene = bench_scene(case.n, views)
    rows, masks = _rows_and_masks(scene)
    where, more = replace(case, device="cpu"), {"views": views, "masks": sum(len(m.scales) for m in masks)}
    view = scene.views[0]
    row = contributions(scene.cloud, view, np.array([[view.width // 2, view.height // 2]], np.int32))
    seed = np.zeros(case.n, np.float32)
    np.add.at(seed, row.ids, row.weights)
    known = incidence(rows, masks, case.n)
    masses, wanted = known.masses(), float(np.median(known.scales))

    def first() -> np.ndarray:
        scores = first_vote(known, seed, wanted)
        return selection.pack(np.zeros(case.n, bool) if scores is None else scores > 0.5)

    def prepare() -> np.ndarray:
        ready = incidence(rows, masks, case.n)
        return first_vote(ready, seed, wanted)

    chosen = selection.unpack(first(), case.n)
    more["selected"] = int(chosen.sum())
    vote = Line("evidence", where, times(first, case.runs(50)), "vote", more=dict(more))
    refined = Line(
        "evidence", where, times(lambda: refine(known, chosen, masses), case.runs(50)), "refine", more=dict(more)
    )
    ready = Line("evidence", where, times(prepare, case.runs(5)), "masks_to_first_vote", more=dict(more))
    vote.reference = times(lambda: _plain_vote(rows, masks, seed, wanted), case.runs(3))
    vote.reference_is = "numpy over all rows of all views, anew for each click"
    yield from (vote, refined, ready)


def _rows_and_masks(scene: BenchScene) -> tuple[list[Rows], list[PoolMasks]]:
    random = np.random.default_rng(0)
    count = len(scene.cloud)
    things = int(scene.objects.max()) + 1
    halves = 2 * scene.objects + (np.arange(count) % count > np.argsort(np.argsort(scene.cloud.means[:, 0])))
    labels = np.stack([halves, 2 * things + scene.objects, 3 * things + scene.objects // 2], axis=1).astype(np.int32)
    scales = np.repeat([0.3, 0.6, 1.5], [2 * things, things, things])
    rows, masks = [], []
    for view in scene.views:
        pool = all_pixels(view)[random.choice(view.width * view.height, POOL_PIXELS, replace=False)]
        rows.append(contributions(scene.cloud, view, pool))
        masks.append(view_masks(view, rows[-1], labels, scales))
    return rows, masks


def _plain_vote(rows: list[Rows], masks: list[PoolMasks], seed: np.ndarray, wanted: float) -> np.ndarray:
    """The formula of the design, view by view: the mask that holds the click and is nearest in scale votes."""
    inside, shown = np.zeros(len(seed)), np.zeros(len(seed))
    for part, view in zip(rows, masks, strict=True):
        members = view.members()
        pixels = np.repeat(np.arange(len(part)), np.diff(part.offsets))
        at_pixels = np.bincount(pixels, part.weights * seed[part.ids], minlength=len(part))
        held = at_pixels @ members > 0.5 * max(at_pixels.sum(), 1e-9)
        near = held & (np.abs(np.log(view.scales / wanted)) < np.log(1.6))
        if not near.any():
            continue
        best = np.flatnonzero(near)[np.argmin(np.abs(np.log(view.scales[near] / wanted)))]
        inside += np.bincount(part.ids, part.weights * members[pixels, best], minlength=len(seed))
        shown += np.bincount(part.ids, part.weights, minlength=len(seed))
    return np.packbits(inside > 0.5 * np.maximum(shown, 1e-9))
