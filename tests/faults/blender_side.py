"""Blender's side in a process of its own, to be killed or held: starts a backend, trains, says how far it is.

`python blender_side.py client|blender FOLDER SAGA_FILE STEPS` prints lines of JSON: the process of the backend, steps,
at the end the notes of the training. "blender": the installed extension does it, as its buttons would.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "backend")]

STEPS, VIEWS = 100_000, 6


def say(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def follow(backend: object, job: object) -> None:
    """Say every step until the training has ended."""
    said = -1
    while not job().ended:
        backend._connection.wait(0.5)
        began = time.monotonic()
        backend.poll()
        progress = job().progress
        if progress is not None and progress.phase == "training" and progress.step > said:
            said = progress.step
            say(step=said, state=backend.state.value, poll=time.monotonic() - began)
    error = job().error
    say(error=error.sentence() if error else "", notes=list(getattr(job().result, "notes", ())))


def by_client(folder: Path, model: Path, steps: int) -> None:
    """Through the client alone."""
    from blender_saga.client.backend import Backend
    from blender_saga.wire.messages import Train, TrainSettings
    from tests.faults.real import balls, launch_of, load, pid_of

    backend = Backend(launch_of(folder, name=f"{model.stem}.log"))
    backend.start()
    cloud = balls()
    load(backend, cloud)
    say(pid=pid_of(backend))
    settings = TrainSettings(recipe="paper", steps=steps, views=VIEWS, width=96, height=72, pixels=256)
    running = backend.submit(Train(cloud.fingerprint(), str(model), settings))
    follow(backend, lambda: running)
    backend.stop()


def by_blender(folder: Path, model: Path, steps: int) -> None:
    """Through the installed extension."""
    import importlib

    import bpy

    package = "bl_ext.user_default.blender_saga"
    if package not in bpy.context.preferences.addons:
        bpy.ops.extensions.package_install_files(
            filepath=str(next(folder.glob("*.zip"))), repo="user_default", enable_on_install=True, overwrite=True
        )
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.saga.import_splat(filepath=str(folder / f"{model.stem}.ply"))
    session = importlib.import_module(f"{package}.scene.state.session")
    bpy.ops.saga.backend_start()
    say(pid=session.link.backend._process._child.pid)
    bpy.ops.saga.train(recipe="PAPER", steps=steps, views=VIEWS, width=96, height=72, pixels=256, wait=False)
    running = session.trainings.request
    follow(session.link.backend, lambda: running.job)
    session.close()


if __name__ == "__main__":
    how, place, file, count = sys.argv[1:]
    {"client": by_client, "blender": by_blender}[how](Path(place), Path(file), int(count))
