"""The Install button in the window of a real Blender, with the real packages from the registry."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import bpy
import numpy as np

from tests.gui.driver import Steps, Window, addon
from tests.gui.story import answered, import_splat, selected, share, train

_STEPS, _VIEWS = 60, 12


def _installation() -> object:
    return addon("scene.state.session").downloads.installation


def _disk(folder: Path) -> int:
    """Bytes on the disk, what is linked counted once."""
    files = {
        (s.st_dev, s.st_ino): s.st_blocks * 512 for p in folder.rglob("*") if not p.is_symlink() for s in [p.stat()]
    }
    return sum(files.values())


def _press_install(window: Window) -> None:
    with window.context():
        assert bpy.ops.saga.backend_install("INVOKE_DEFAULT") == {"FINISHED"}


def from_the_registry(window: Window) -> Steps:
    """Refused offline; begun and cancelled; pressed again: installed, started, trained, clicked."""
    measured: dict[str, object] = {}
    yield from import_splat(window)
    bpy.context.preferences.system.use_online_access = False
    with window.context():
        try:
            bpy.ops.saga.backend_install("INVOKE_DEFAULT")
        except RuntimeError as error:
            assert "online access is disabled" in str(error)
    bpy.context.preferences.system.use_online_access = True
    yield window.redrawn()
    window.grab("1_not_installed")
    yield from _cancelled(window, measured)
    yield from _installed(window, measured)
    began = time.monotonic()
    bpy.context.scene.saga.method = "SEGMENTS"
    yield from train(window, _STEPS, _VIEWS, "5_training")
    measured["start and training s"] = round(time.monotonic() - began, 1)
    yield from _clicked(window, measured)
    (window.out / "measured.json").write_text(json.dumps(measured, indent=1))


def _cancelled(window: Window, measured: dict) -> Steps:
    _press_install(window)
    job = _installation()
    yield lambda: job.text.startswith("Downloading") or not job.running
    yield window.redrawn()
    window.grab("2_downloading")
    began = time.monotonic()
    with window.context():
        bpy.ops.saga.cancel()
    yield lambda: not job.running
    measured["cancel s"] = round(time.monotonic() - began, 2)
    assert job.cancelled and job.error is None, job.error
    assert not addon("scene.state.launch").environment().usable
    yield window.redrawn()
    window.grab("3_cancelled")


def _installed(window: Window, measured: dict) -> Steps:
    began, texts, before = time.monotonic(), {}, window.draws
    _press_install(window)
    job = _installation()

    def ended() -> bool:
        texts.setdefault(job.text.partition(":")[0].rstrip(" 0123456789,of"), round(time.monotonic() - began, 1))
        return not job.running

    yield ended
    assert job.error is None, job.error
    environment = addon("scene.state.launch").environment()
    assert environment.state.value == "ready"
    folder = addon("scene.state.launch").backend_folder()
    measured |= {"install s": round(time.monotonic() - began, 1), "told at s": texts, "redraws": window.draws - before}
    measured["environment GB"] = round(_disk(environment.current.folder) / 1e9, 2)
    measured["backend folder GB"] = round(_disk(folder) / 1e9, 2)
    measured["python"] = os.path.realpath(environment.current.python)
    yield window.redrawn()
    window.grab("4_installed")


def _clicked(window: Window, measured: dict) -> Steps:
    labels = np.load(window.out / "labels.npy")
    with window.context():
        bpy.ops.wm.tool_set_by_id(name=addon("ui.tool").IDNAME)
    thing = labels == 2
    began = time.monotonic()
    yield from window.click(
        *window.pixel(np.median(addon("scene.splat.point_cloud").positions(bpy.data.objects["scene"])[thing], axis=0))
    )
    yield answered(window)
    measured["click s"] = round(time.monotonic() - began, 2)
    found = selected()
    measured["click IoU"] = round(float((found & thing).sum() / (found | thing).sum()), 3)
    window.grab("6_clicked")
    assert share(found, thing) > 0.8, measured
