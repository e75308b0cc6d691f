"""Benchmark row for masks in files: time and memory for many large pictures with many masks."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench_measure import Case, Line, Times
from bench_scene import bench_scene
from saga_backend.cameras.photo import virtual_frames
from saga_backend.cli.evaluate import peak_mb
from saga_backend.common.progress import Control
from saga_backend.masks.cache import MaskCache, file_bytes
from saga_backend.masks.mask_folder import MaskFolder
from saga_backend.masks.run_lengths import RunMasks, encode
from saga_backend.rasterizer.select import CPU
from saga_backend.training.preparation import picture_masks, rasterize

SIZE = (1000, 750)
"""Width and height of a picture, pixels."""
VIEWS, MASKS = 200, 100
LIMIT_MB = 2000
_DISTINCT = 10  # pictures with masks of their own; the other views repeat them


def mask_memory(case: Case) -> Iterator[Line]:
    """Write 200 pictures of 1000 x 750 pixels with 100 masks each to a folder, and read them for a training.

    The second row goes up to the segments; random masks have none in common. `peak_mb` is that of the whole process.
    """
    views, masks = (4, 10) if case.quick else (VIEWS, MASKS)
    scene = bench_scene(case.n, views)
    frames = virtual_frames([view.resized(*SIZE) for view in scene.views])
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        cache, start = MaskCache(Path(folder)), time.perf_counter()
        pictures = [_discs(masks, random) for _ in range(min(_DISTINCT, views))]
        for index, frame in enumerate(frames):
            cache.save(frame.name, file_bytes(pictures[index % len(pictures)], "bench"))
        written, size = time.perf_counter() - start, sum(path.stat().st_size for path in Path(folder).iterdir())
        more = {"views": views, "masks": masks, "folder_mb": round(size / 1e6, 1), "limit_mb": LIMIT_MB}
        yield Line("mask_memory", case, _once(written), "write", more=more, peak=peak_mb())
        rasterized = rasterize(scene.cloud, [frame.view for frame in frames], CPU, 0, Control())
        rows_mb, start = peak_mb(), time.perf_counter()
        found = picture_masks(rasterized, MaskFolder(Path(folder), frames), CPU, Control())
        elapsed = time.perf_counter() - start
        more |= {"rows_mb": rows_mb, "kept": sum(len(part.scales) for part in found.masks)}
        yield Line("mask_memory", case, _once(elapsed), "read", more=more, peak=peak_mb())


def _discs(count: int, random: np.random.Generator) -> RunMasks:
    """Masks of random discs: some are small, some cover a third of the picture."""
    width, height = SIZE
    y, x = np.ogrid[:height, :width]
    runs = []
    for _ in range(count):
        radius, cx, cy = (
            np.exp(random.uniform(np.log(15), np.log(250))),
            random.uniform(0, width),
            random.uniform(0, height),
        )
        runs.append(encode((x - cx) ** 2 + (y - cy) ** 2 < radius**2))
    return RunMasks.of_runs(runs, (height, width), np.linspace(1, 0.9, count))


def _once(seconds: float) -> Times:
    """The times of a single run, because several runs would take too long."""
    return Times(*[round(1e3 * seconds, 1)] * 3)
