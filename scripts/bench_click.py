"""Benchmark rows for a click in Blender with a real backend process: until the picture, and during a training."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench_measure import Case, Line, Times, times
from bench_queries import object_features
from bench_scene import BenchScene, bench_scene
from bench_viewport import SIZE, OffscreenView, camera_of, scene_of
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model.saga_file import Header, save
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table

_ROOT = Path(__file__).resolve().parents[1]
_RUNS = 15
_VIEWS, _STEPS = 60, 3000  # of the training during the clicks
_PAUSE = 0.2  # seconds between two clicks during a training


@dataclass
class Stages:
    """Milliseconds in each stage of a click. The time of a function includes the functions that it calls.

    Attributes:
        clicks: for each click, the milliseconds by stage.
        counting: whether a click is in progress; drawing between two clicks does not count.
    """

    clicks: list[dict[str, float]] = field(default_factory=list)
    counting: bool = False

    def watch(self, owner: object, name: str, stage: str) -> None:
        """Replace a function of a module or class by one that records its time."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: object, **more: object) -> object:
            return self.run(stage, lambda: inner(*args, **more))

        setattr(owner, name, timed)

    def run(self, stage: str, function: Callable[[], object]) -> object:
        """Call a function and add its time to a stage of the click."""
        start = time.perf_counter()
        try:
            return function()
        finally:
            if self.counting:
                elapsed = 1e3 * (time.perf_counter() - start)
                self.clicks[-1][stage] = self.clicks[-1].get(stage, 0.0) + elapsed

    def medians(self) -> dict[str, float]:
        """The median of each stage, without the first click, which compiles code."""
        counted = self.clicks[1:]
        return {f"{stage}_ms": round(float(np.median([c[stage] for c in counted])), 2) for stage in counted[0]}


def click_blender(case: Case) -> Iterator[Line]:
    """Click, answer, attributes, undo step, draw data, first picture (drawn by software on a machine without a GPU)."""
    bench = bench_scene(case.n, 1)
    bpy, obj = scene_of(bench.cloud)
    with tempfile.TemporaryDirectory() as folder, _backend(Path(folder), obj, bench):
        stages, places, viewport = _watch_stages(), itertools.cycle(_places(bench, obj)), OffscreenView(obj)
        seconds, work, masks = [], [], []
        for _ in range(case.runs(_RUNS if case.n <= 1_000_000 else 4) + 1):
            viewport.rest()
            stages.clicks.append({})
            stages.counting = True
            start, cpu_start = time.perf_counter(), _cpu_seconds()
            _click(bpy, case.n, next(places))
            bpy.context.view_layer.update()  # a window does this after an operator
            work.append(_cpu_seconds() - cpu_start)
            stages.run("first_picture", viewport.paint)
            seconds.append(time.perf_counter() - start)
            stages.counting = False
            masks.append(_selected(obj))
        assert all(m.any() and not m.all() for m in masks) and (masks[0] != masks[1]).any(), "clicks select nothing"
        cpu_ms = round(1e3 * float(np.mean(work[1:])), 1)  # until the attributes; a mean, since the clock has 10 ms
        measured = replace(times_of(seconds[1:]), cpu_ms=cpu_ms)
        more = stages.medians()
        more["ready_to_draw_ms"] = round(measured.median_ms - more["first_picture_ms"] + more["draw_data_ms"], 2)
        line = Line("click_blender", replace(case, device="cpu"), measured, more=more)
        line.more["whole_picture_ms"] = times(viewport.paint, 3).median_ms if viewport.rest() else None
        yield line


def click_training(case: Case) -> Iterator[Line]:
    """Clicks during a training of the same scene: the time from the click to the selection in the attributes."""
    bench = bench_scene(case.n, 1)
    bpy, obj = scene_of(bench.cloud)
    with tempfile.TemporaryDirectory() as folder, _backend(Path(folder), obj, bench):
        places = itertools.cycle(_places(bench, obj))
        for _ in range(3):
            _click(bpy, case.n, next(places))
        from blender_saga.scene.state import session

        bpy.ops.saga.train(steps=30 if case.quick else _STEPS, views=4 if case.quick else _VIEWS, wait=False)
        training, pause, seconds = session.trainings.request, threading.Event(), {}
        while not training.ended:
            phase = training.job.progress.phase if training.job.progress else "begin"
            start = time.perf_counter()
            _click(bpy, case.n, next(places))
            seconds.setdefault(phase, []).append(time.perf_counter() - start)
            pause.wait(_PAUSE)  # the pace of a user; the pause is not measured
        assert training.job.error is None, training.job.error
        elapsed = [value for values in seconds.values() for value in values]
        measured, more = times_of(elapsed), {"clicks": len(elapsed), "worst_ms": round(1e3 * max(elapsed), 1)}
        more["worst_of_phase_ms"] = {phase: round(1e3 * max(s), 1) for phase, s in seconds.items()}
        yield Line("click_training", replace(case, device="cpu"), measured, more=more)


def times_of(seconds: list[float]) -> Times:
    """Median, 90 % quantile and the fastest of some times."""
    median, p90 = np.quantile(seconds, [0.5, 0.9])
    return Times(*(round(1e3 * float(value), 3) for value in (median, p90, min(seconds))))


def _cpu_seconds() -> float:
    """CPU seconds of this process and its backend, all cores together (Linux; on other systems this process alone)."""
    from blender_saga.scene.state import session

    try:
        stat = Path(f"/proc/{session.link.backend._process._child.pid}/stat").read_text()
    except OSError:
        return time.process_time()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _watch_stages() -> Stages:
    """Watch the stages of a click."""
    from blender_saga.scene.requests import click
    from blender_saga.scene.splat.draw_data import Blocks
    from blender_saga.scene.state.request import SceneRequest
    from blender_saga.viewport.splat_draw import Painter

    stages = Stages()
    stages.watch(click, "ask", "ask")
    stages.watch(SceneRequest, "wait", "backend")
    stages.watch(click, "apply", "write")
    stages.watch(Blocks, "of", "draw_data")
    stages.watch(Painter, "_atlas", "draw_data")
    return stages


def _click(bpy: object, count: int, place: tuple[int, int]) -> None:
    """Call the operator like the tool, with an undo step."""
    view, projection = camera_of(count)
    flat = {"view_matrix": view.ravel(), "projection_matrix": projection.ravel()}
    bpy.ops.saga.click("EXEC_DEFAULT", True, **flat, width=SIZE[0], height=SIZE[1], x=place[0], y=place[1])


def _selected(obj: object) -> np.ndarray:
    from blender_saga.scene.splat import point_cloud

    return point_cloud.selection(obj)


def _places(bench: BenchScene, obj: object) -> list[tuple[int, int]]:
    """Region pixels of the centers of some objects inside the picture."""
    from blender_saga.scene.splat import point_cloud

    view, projection = camera_of(len(bench.cloud))
    means, found = point_cloud.positions(obj), []
    for number in range(1, int(bench.objects.max()) + 1):
        middle = np.median(means[bench.objects == number], axis=0)
        clip = projection @ view @ [*middle, 1.0]
        x, y = (clip[:2] / clip[3] + 1) / 2 * SIZE
        if 10 < x < SIZE[0] - 10 and 10 < y < SIZE[1] - 5:
            found.append((int(x), int(y)))
    return found[:8]


@contextmanager
def _backend(folder: Path, obj: object, bench: BenchScene) -> Iterator[None]:
    """Write a model for the splat, and run a backend process."""
    from blender_saga.client.connection.process import Launch
    from blender_saga.scene.state import session

    path = folder / "bench.saga"
    save(path, _model(bench), Header(obj.saga.fingerprint, count=len(bench.cloud)))
    obj.saga.model_file, obj.saga.source = (
        str(path),
        str(folder / "bench.ply"),
    )  # a training writes there, too
    addon, launcher = _ROOT / "blender_saga", _ROOT / "backend" / "launch.py"
    session.link.start(Launch(Path(sys.executable), launcher, addon, folder / "log", "cpu")).wait_connected(180)
    try:
        yield
    finally:
        session.link.stop()


def _model(bench: BenchScene) -> SceneModel:
    """A model as after a training: a segment for each object, the floor and the whole scene; 32 feature channels."""
    numbers = range(int(bench.objects.max()) + 1)
    everything = np.ones(len(bench.cloud), bool)
    segments = from_sets([*(bench.objects == number for number in numbers), everything], bench.cloud.means)
    gate = np.random.default_rng(2).uniform(-1, 1, (2, 32)).astype(np.float32)
    table = scale_table(segments)
    return SceneModel(segments, table, AffinityModel(object_features(bench), gate, table, 1000))
