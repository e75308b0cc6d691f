"""Models that are only in the backend's memory because saving them failed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ...errors import Cancelled, UserError
from ...gaussians.atomic_write import atomic_stream
from ...wire.messages import FetchModel, ModelFile
from ..splat import point_cloud
from ..state.link import link
from ..state.models import models
from ..state.paths import model_path, portable
from ..state.status import status
from . import click
from .lookup import is_trained, not_trained, siblings, trained_model


def save(obj: bpy.types.Object, path: Path) -> None:
    """Write the model of a splat to a file and record the file on all objects that share the model.

    Raises:
        UserError: if there is no model, the backend does not run, or the file cannot be written.
        Cancelled: if the request was cancelled.
    """
    if not is_trained(obj):
        raise not_trained(obj)
    load = click.needed(siblings(obj), trained_model(obj))
    answer = link.request(load, FetchModel(obj.saga.fingerprint)).wait()
    assert isinstance(answer, ModelFile)
    with atomic_stream(path) as stream:
        stream.write(np.ascontiguousarray(answer.data, np.uint8))
    models.saved(obj.saga.fingerprint, str(path))
    for sibling in siblings(obj):
        sibling.saga.model_file = portable(str(path))


def unsaved(objects: Iterable[bpy.types.Object]) -> list[bpy.types.Object]:
    """One object for each model that is only in the backend's memory."""
    held = {obj.saga.fingerprint: obj for obj in objects if point_cloud.is_splat(obj)}
    return [obj for fingerprint, obj in held.items() if link.holds(fingerprint)]


@persistent
def _file_is_saved(path: str, *_: object) -> None:
    """Try to save the models again, next to the .blend, so that it is saved with their paths."""
    folder = Path(path).parent if path else None
    for obj in unsaved(bpy.data.objects) if folder is not None and os.access(folder, os.W_OK) else ():
        target = model_path(obj, obj.saga.fingerprint, folder)
        try:
            save(obj, target)
            for sibling in siblings(obj):
                sibling.saga.model_file = f"//{target.name}"  # the .blend does not exist yet
            status.tell(f"The model was saved as {target.name}")
        except UserError as error:
            status.tell(error.sentence(), failed=True)
        except Cancelled:
            status.tell("The model is not saved: saving was cancelled", failed=True)


def start() -> None:
    """Retry whenever the .blend is saved."""
    bpy.app.handlers.save_pre.append(_file_is_saved)


def stop() -> None:
    """Undo `start`."""
    if _file_is_saved in bpy.app.handlers.save_pre:
        bpy.app.handlers.save_pre.remove(_file_is_saved)
