"""Benchmark rows of a click in Blender with a real backend process: until the picture, and while it trains."""

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
from bench_viewport import SIZE, Easel, camera_of, scene_of
from saga_backend.methods.saga.model import AffinityModel
from saga_backend.model.saga_file import Header, save
from saga_backend.model.scene_model import SceneModel
from saga_backend.segments.segments import from_sets, scale_table

_ROOT = Path(__file__).resolve().parents[1]
_RUNS = 15
_VIEWS, _STEPS = 60, 3000  # of the training that clicks run beside
_PAUSE = 0.2  # seconds between two clicks beside a training


@dataclass
class Stages:
    """Milliseconds spent in each part of a click, one entry a click; what a watched function calls is part of it.

    Attributes:
        clicks: the milliseconds by stage.
        counting: whether a click is under way: what is drawn between two is part of neither.
    """

    clicks: list[dict[str, float]] = field(default_factory=list)
    counting: bool = False

    def watch(self, owner: object, name: str, stage: str) -> None:
        """Have a function of a module or class take its time."""
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: object, **more: object) -> object:
            return self.run(stage, lambda: inner(*args, **more))

        setattr(owner, name, timed)

    def run(self, stage: str, function: Callable[[], object]) -> object:
        """Call a function and count its time to a stage of the click."""
        began = time.perf_counter()
        try:
            return function()
        finally:
            if self.counting:
                spent = 1e3 * (time.perf_counter() - began)
                self.clicks[-1][stage] = self.clicks[-1].get(stage, 0.0) + spent

    def medians(self) -> dict[str, float]:
        """Of each stage; the first click, which compiles, is left out."""
        counted = self.clicks[1:]
        return {f"{stage}_ms": round(float(np.median([c[stage] for c in counted])), 2) for stage in counted[0]}


def click_blender(case: Case) -> Iterator[Line]:
    """Click, answer, attributes, undo step, what is drawn, the first picture (by software where there is no card)."""
    bench = bench_scene(case.n, 1)
    bpy, obj = scene_of(bench.cloud)
    with tempfile.TemporaryDirectory() as folder, _backend(Path(folder), obj, bench):
        stages, places, easel = _watched(), itertools.cycle(_places(bench, obj)), Easel(obj)
        seconds, work, masks = [], [], []
        for _ in range(case.runs(_RUNS if case.n <= 1_000_000 else 4) + 1):
            easel.rest()
            stages.clicks.append({})
            stages.counting = True
            began, worked = time.perf_counter(), _worked()
            _click(bpy, case.n, next(places))
            bpy.context.view_layer.update()  # as the window does after an operator
            work.append(_worked() - worked)
            stages.run("first_picture", easel.paint)
            seconds.append(time.perf_counter() - began)
            stages.counting = False
            masks.append(_selected(obj))
        assert all(m.any() and not m.all() for m in masks) and (masks[0] != masks[1]).any(), "clicks select nothing"
        cpu_ms = round(1e3 * float(np.mean(work[1:])), 1)  # up to the attributes; a mean: the system counts in 10 ms
        measured = replace(times_of(seconds[1:]), cpu_ms=cpu_ms)
        more = stages.medians()
        more["ready_to_draw_ms"] = round(measured.median_ms - more["first_picture_ms"] + more["draw_data_ms"], 2)
        line = Line("click_blender", replace(case, device="cpu"), measured, more=more)
        line.more["whole_picture_ms"] = times(easel.paint, 3).median_ms if easel.rest() else None
        yield line


def click_training(case: Case) -> Iterator[Line]:
    """Clicks while the same backend trains the same scene: from the click to the selection in the attributes."""
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
            began = time.perf_counter()
            _click(bpy, case.n, next(places))
            seconds.setdefault(phase, []).append(time.perf_counter() - began)
            pause.wait(_PAUSE)  # an artist's pace; what is measured is the click alone
        assert training.job.error is None, training.job.error
        spent = [value for values in seconds.values() for value in values]
        measured, more = times_of(spent), {"clicks": len(spent), "worst_ms": round(1e3 * max(spent), 1)}
        more["worst_of_phase_ms"] = {phase: round(1e3 * max(s), 1) for phase, s in seconds.items()}
        yield Line("click_training", replace(case, device="cpu"), measured, more=more)


def times_of(seconds: list[float]) -> Times:
    """Median, 90 % quantile and the fastest."""
    median, late = np.quantile(seconds, [0.5, 0.9])
    return Times(*(round(1e3 * float(value), 3) for value in (median, late, min(seconds))))


def _worked() -> float:
    """Seconds of work of this process and its backend, all cores together (Linux; elsewhere this process alone)."""
    from blender_saga.scene.state import session

    try:
        stat = Path(f"/proc/{session.link.backend._process._child.pid}/stat").read_text()
    except OSError:
        return time.process_time()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return time.process_time() + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _watched() -> Stages:
    """A stopwatch at each part of a click."""
    from blender_saga.scene.requests import click
    from blender_saga.scene.splat.draw_data import Blocks
    from blender_saga.scene.state.request import Request
    from blender_saga.viewport.splat_draw import Painter

    stages = Stages()
    stages.watch(click, "ask", "ask")
    stages.watch(Request, "wait", "backend")
    stages.watch(click, "apply", "write")
    stages.watch(Blocks, "of", "draw_data")
    stages.watch(Painter, "_atlas", "draw_data")
    return stages


def _click(bpy: object, count: int, place: tuple[int, int]) -> None:
    """The operator as the tool calls it, with an undo step."""
    view, projection = camera_of(count)
    flat = {"view_matrix": view.ravel(), "projection_matrix": projection.ravel()}
    bpy.ops.saga.click("EXEC_DEFAULT", True, **flat, width=SIZE[0], height=SIZE[1], x=place[0], y=place[1])


def _selected(obj: object) -> np.ndarray:
    from blender_saga.scene.splat import point_cloud

    return point_cloud.selection(obj)


def _places(bench: BenchScene, obj: object) -> list[tuple[int, int]]:
    """Region pixels of the middles of some things that stand inside the picture."""
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
    """The splat has a model, written here, and a backend process runs."""
    from blender_saga.client.connection.process import Launch
    from blender_saga.scene.state import session

    path = folder / "bench.saga"
    save(path, _model(bench), Header(obj.saga.fingerprint, count=len(bench.cloud)))
    obj.saga.model_file, obj.saga.source = str(path), str(folder / "bench.ply")  # a new model goes there, too
    addon, launcher = _ROOT / "blender_saga", _ROOT / "backend" / "launch.py"
    session.link.start(Launch(Path(sys.executable), launcher, addon, folder / "log", "cpu")).wait_connected(180)
    try:
        yield
    finally:
        session.link.stop()


def _model(bench: BenchScene) -> SceneModel:
    """As a training leaves it: a segment for each thing, for the floor, for all together; features of 32 numbers."""
    numbers = range(int(bench.objects.max()) + 1)
    everything = np.ones(len(bench.cloud), bool)
    segments = from_sets([*(bench.objects == number for number in numbers), everything], bench.cloud.means)
    gate = np.random.default_rng(2).uniform(-1, 1, (2, 32)).astype(np.float32)
    table = scale_table(segments)
    return SceneModel(segments, table, AffinityModel(object_features(bench), gate, table, 1000))
