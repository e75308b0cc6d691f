"""Benchmark rows of Click-Gaussian: a click, which looks up its clusters; a step of the training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from bench_measure import Case, Line, times
from bench_scene import bench_scene
from blender_saga.gaussians import selection
from saga_backend.common.neighbors import nearest
from saga_backend.methods.click_gaussian.levels import level_view
from saga_backend.methods.click_gaussian.model import LevelModel, model_of
from saga_backend.methods.click_gaussian.settings import BY_NAME, PAPER
from saga_backend.methods.click_gaussian.train import make_stepper
from saga_backend.rasterizer.cpu import all_pixels
from saga_backend.rasterizer.select import rasterizer

_SAMPLED_PIXELS = 16_384


def click_levels(case: Case) -> Iterator[Line]:
    """A click at each level: contribution row of the pixel, its clusters, their Gaussians, packed bits."""
    scene = bench_scene(case.n, 2)
    model = _model(scene.objects, scene.cloud.means)
    view, one = scene.views[0], np.ones(1, bool)
    pixel = np.array([[view.width // 2, view.height // 2]], np.int32)
    raster = rasterizer("cpu")  # queries run on the CPU, whatever the device of the training
    row = raster.contributions(scene.cloud, view, pixel)
    features = torch.as_tensor(model.features)
    for what, scale in (("coarse", 1.0), ("fine", 0.0)):

        def ours(scale: float = scale) -> np.ndarray:
            answer = model.select(raster.contributions(scene.cloud, view, pixel), one, scale)
            return selection.pack(answer.mask)

        more = {
            "row_ms": times(lambda: raster.contributions(scene.cloud, view, pixel), case.runs(50)).median_ms,
            "lookup_ms": times(lambda s=scale: selection.pack(model.select(row, one, s).mask), case.runs(50)).median_ms,
            "selected": int(np.unpackbits(ours(), count=case.n).sum()),
        }
        line = Line("click_levels", replace(case, device="cpu"), times(ours, case.runs(50)), what=what, more=more)
        part, clicked = features[:, : 12 if scale else 24], torch.as_tensor(row.blend(model.features)[0])
        line.reference = times(lambda p=part, c=clicked: _compare(p, c[: p.shape[1]]), case.runs(15))
        line.reference_is = "torch: cosine of all features with the click's; the row is given"
        yield line


def click_step(case: Case) -> Iterator[Line]:
    """An optimizer step on pixels with guidance: with the numbers of the paper, and with fewer pixels."""
    scene = bench_scene(case.n, 2)
    random, raster = np.random.default_rng(0), rasterizer(case.device)
    labels = np.stack([scene.objects, 3 * scene.objects + random.integers(0, 3, case.n)], axis=1).astype(np.int32)
    everywhere = all_pixels(scene.views[1])
    rows = raster.contributions(
        scene.cloud, scene.views[1], everywhere[random.permutation(len(everywhere))[:_SAMPLED_PIXELS]]
    )
    view = level_view(rows, np.ascontiguousarray(np.maximum(rows.strongest(labels), 0).T))
    assert view is not None, "the view shows nothing"
    neighbors = np.ascontiguousarray(nearest(scene.cloud.means, 6)[0][:, 1:])
    clusters = [level.centers for level in _model(scene.objects, scene.cloud.means).levels]
    for what, pixels, around in (("paper", PAPER.pixels, PAPER.around), ("1,500 pixels", 1500, 4000)):
        settings = replace(BY_NAME["paper"], pixels=pixels, around=around, device=case.device)
        features = random.standard_normal((case.n, 24)).astype(np.float32)
        steps = make_stepper(features, neighbors, settings)
        sampled, masks = view.sample(pixels, random)
        ids = np.sort(random.integers(0, case.n, around)).astype(np.int32)
        measured = times(lambda s=steps, r=sampled, m=masks, i=ids: s.step(r, m, i, clusters), case.runs(5))
        yield Line("click_step", case, measured, what=what)


def _model(objects: np.ndarray, means: np.ndarray) -> LevelModel:
    """A model as after a training: a direction for every object and for each of its parts, with noise."""
    random, count = np.random.default_rng(1), int(objects.max()) + 1
    part = 3 * objects + (np.arange(len(objects)) % 3)
    coarse, fine = (random.standard_normal((n, 12)).astype(np.float32) for n in (count, 3 * count))
    codes = np.concatenate([coarse[np.arange(3 * count) // 3], fine], axis=1)
    centers = [c / np.linalg.norm(c, axis=1, keepdims=True) for c in (coarse, codes)]
    features = codes[part] + 0.1 * random.standard_normal((len(objects), 24)).astype(np.float32)
    return model_of(features, centers, [slice(0, 12), slice(0, 24)], means, 3000)


def _compare(features: torch.Tensor, click: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cosine_similarity(features, click[None], dim=1) > 0.9
