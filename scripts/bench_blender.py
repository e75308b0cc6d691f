"""Benchmark rows for files in Blender: import and export of a PLY with SH of degree 3, compared with Blender's own PLY.

Blender's own reader makes a mesh with the raw numbers: it applies no activations and converts no axes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from bench_measure import Case, Line, once, times
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.ply import write_ply
from saga_backend.cli.evaluate import peak_mb

_RUNS = 5


def import_blender(case: Case) -> Iterator[Line]:
    """File > Import: the time from the call of the operator to the object in the scene, including a new empty file."""
    bpy = _blender()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "scene.ply"))
        write_ply(path, _scene(case.n))

        def run(operator: str) -> None:
            bpy.ops.wm.read_homefile(use_empty=True)
            group, name = operator.split(".")
            getattr(getattr(bpy.ops, group), name)(filepath=path)

        line = Line("import_blender", replace(case, device="cpu"), times(lambda: run("saga.import_splat"), _RUNS))
        line.reference = times(lambda: run("wm.ply_import"), _RUNS)
        line.reference_is = "Blender's own wm.ply_import of the same file"
        yield line


def export_blender(case: Case) -> Iterator[Line]:
    """File > Export of an untouched splat (its rows are copied) and of a moved or rotated one (all rows are new)."""
    bpy = _blender()
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "scene.ply"), str(Path(folder, "out.ply"))
        write_ply(path, _scene(case.n))
        bpy.ops.wm.read_homefile(use_empty=True)
        bpy.ops.wm.ply_import(filepath=str(path))
        theirs = times(lambda: bpy.ops.wm.ply_export(filepath=out, export_attributes=True), _RUNS)
        bpy.ops.wm.read_homefile(use_empty=True)
        bpy.ops.saga.import_splat(filepath=str(path))
        obj = bpy.context.view_layer.objects.active
        for what, matrix in (("untouched", ()), ("moved", (1, 0, 0)), ("turned", (0, 0, 1))):
            obj.location, obj.rotation_euler = matrix or (0, 0, 0), (0, 0, 1.0 if what == "turned" else 0)
            ours = times(lambda: bpy.ops.saga.export_splat(filepath=out), _RUNS)
            line = Line("export_blender", replace(case, device="cpu"), ours, what)
            line.reference, line.reference_is = theirs, "Blender's own wm.ply_export of its mesh"
            yield line


def file_memory(case: Case) -> Iterator[Line]:
    """Peak memory of a process that imports a file, exports the moved splat, and exports the untouched one."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "scene.ply"), str(Path(folder, "out.ply"))
        writer = multiprocessing.get_context("fork").Process(target=_write, args=(path, case.n))
        writer.start()  # in its own process, whose memory does not count here
        writer.join()
        bpy, start = _blender(), peak_mb()
        bpy.ops.wm.read_homefile(use_empty=True)
        for what in ("import", "export, moved", "export, untouched"):  # in the order of their memory
            if what == "import":
                measured = once(lambda: bpy.ops.saga.import_splat(filepath=str(path)))
            else:
                bpy.context.view_layer.objects.active.location = (1, 0, 0) if what == "export, moved" else (0, 0, 0)
                measured = once(lambda: bpy.ops.saga.export_splat(filepath=out))
            line = Line("file_memory", replace(case, device="cpu"), measured, what)
            line.more = {"file_mb": round(path.stat().st_size / 2**20), "start_mb": start}
            yield line


def _write(path: Path, n: int) -> None:
    write_ply(path, _scene(n))


def _scene(n: int) -> GaussianCloud:
    """Random Gaussians with SH of degree 3."""
    random = np.random.default_rng(0)
    quats = random.standard_normal((n, 4), dtype=np.float32)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    means, scales = random.standard_normal((n, 3), dtype=np.float32), random.random((n, 3), dtype=np.float32) * 0.1
    sh = random.standard_normal((n, 16, 3), dtype=np.float32) * np.float32(0.2)
    return GaussianCloud(means, quats, scales + np.float32(1e-3), random.random(n, dtype=np.float32), sh)


def _blender() -> ModuleType:
    """Blender as a module, with the add-on registered from the repository."""
    import bpy

    import blender_saga

    if not hasattr(bpy.types.Object, "saga"):
        blender_saga.register()
    return bpy
