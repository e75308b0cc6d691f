"""Benchmark rows for queries: click, scale, raster, selection_bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from bench_measure import Case, Line, Times, gigabytes_per_second, times
from bench_references import plain_raster_ms, plain_selection
from bench_scene import BenchScene, bench_scene
from blender_saga.gaussians import selection
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.rasterizer.cpu import all_pixels
from saga_backend.rasterizer.select import rasterizer

ROW_PIXELS = 8192
_CHANNELS = 32


def object_features(scene: BenchScene, channels: int = _CHANNELS) -> np.ndarray:
    """[N,D] unit features as after a training: one direction for each object, with noise."""
    random = np.random.default_rng(1)
    codes = random.standard_normal((int(scene.objects.max()) + 1, channels)).astype(np.float32)
    out = codes[scene.objects] + 0.3 * random.standard_normal((len(scene.objects), channels), dtype=np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def click(case: Case) -> Iterator[Line]:
    """A first click at the automatic scale: contribution row, choice of the scale, scores, threshold, packed bits."""
    yield _query("click", case, None)


def scale(case: Case) -> Iterator[Line]:
    """The same click at a given scale, as after a move of the slider."""
    yield _query("scale", case, 0.6)


def _query(bench: str, case: Case, chosen_scale: float | None) -> Line:
    scene = bench_scene(case.n, 2)
    features = object_features(scene)
    gate = np.random.default_rng(2).uniform(-1, 1, (2, _CHANNELS)).astype(np.float32)
    model = AffinityModel(features, gate, np.linspace(0.05, 2, 257).astype(np.float32))
    view, one = scene.views[0], np.ones(1, bool)
    pixel = np.array([[view.width // 2, view.height // 2]], np.int32)
    raster = rasterizer("cpu")  # queries run on the CPU, whatever the device of the training

    def ours() -> np.ndarray:
        answer = model.select(raster.contributions(scene.cloud, view, pixel), one, chosen_scale)
        return selection.pack(answer.mask)

    row = raster.contributions(scene.cloud, view, pixel)
    more = {
        "row_ms": times(lambda: raster.contributions(scene.cloud, view, pixel), case.runs(50)).median_ms,
        "selected": int(np.unpackbits(ours(), count=case.n).sum()),
    }
    line = Line(bench, replace(case, device="cpu"), times(ours, case.runs(50)), more=more)
    tensors = (torch.as_tensor(a) for a in (features, row.blend(features)[0], model.scale_gate(chosen_scale or 0.6)))
    values = tuple(tensors)
    line.reference = times(lambda: plain_selection(*values, 0.7), case.runs(15))
    line.reference_is = "torch: gate all features, normalize, multiply; the row is given"
    rate = gigabytes_per_second()
    line.more["floor_ms"] = round((features.nbytes + 28 * case.n) / rate / 1e6, 2)  # 28: center, size, opacity
    line.more["floor_fp16_ms"] = round((features.nbytes / 2 + 28 * case.n) / rate / 1e6, 2)
    return line


def raster(case: Case) -> Iterator[Line]:
    """A whole view, the contribution rows of sampled pixels, and the row of one pixel."""
    scene = bench_scene(case.n, 2)
    view = scene.views[1]
    ours = rasterizer(case.device)
    everywhere = all_pixels(view)
    sampled = everywhere[np.random.default_rng(0).choice(len(everywhere), ROW_PIXELS, replace=False)]
    middle = np.array([[view.width // 2, view.height // 2]], np.int32)
    runs = case.runs(10)
    where = replace(case, device=ours.device)
    lines = [
        (Line("raster", where, times(lambda: ours.render(scene.cloud, view), runs), "view"), everywhere),
        (
            Line("raster", where, times(lambda: ours.contributions(scene.cloud, view, sampled), runs), "rows"),
            sampled,
        ),
        (
            Line("raster", where, times(lambda: ours.contributions(scene.cloud, view, middle), runs), "pixel"),
            middle,
        ),
    ]
    lines[1][0].more["entries_per_pixel"] = round(
        len(ours.contributions(scene.cloud, view, sampled).ids) / len(sampled), 1
    )
    for line, pixels in lines:
        reference = plain_raster_ms(scene.cloud, view, pixels, 3 if case.quick else 24)
        line.reference = Times(round(reference, 3), round(reference, 3), round(reference, 3))
        line.reference_is = "torch on the CPU: gsplat's plain projection, dense tiles (some timed, scaled to all)"
        yield line


def selection_bits(case: Case) -> Iterator[Line]:
    """A selection crosses the wire and is added to the current one: pack, unpack, combine."""
    random = np.random.default_rng(0)
    old, new = random.random(case.n) < 0.3, random.random(case.n) < 0.3

    def ours() -> np.ndarray:
        return selection.combine(old, selection.unpack(selection.pack(new), case.n), "add")

    def plain() -> np.ndarray:
        ids = np.flatnonzero(new)
        out = old.copy()
        out[ids] = True
        return out

    assert np.array_equal(ours(), plain())
    line = Line("selection_bits", replace(case, device="cpu"), times(ours, case.runs(50)))
    line.more["bytes"] = len(selection.pack(new))
    line.reference = times(plain, case.runs(50))
    line.reference_is = f"a list of ids, {8 * int(new.sum())} bytes"
    yield line
