"""Train a splat object: send the request, and record its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...wire.messages import LoadScene, Train, Trained, TrainSettings
from ..splat import point_cloud
from ..state.link import link
from ..state.models import models
from ..state.paths import model_path, portable
from ..state.request import SceneRequest
from ..state.status import status
from ..state.trainings import Training, trainings
from . import trained_space
from .lookup import trained_model
from .train_sources import SourceChoices, sources_of

_CUT_OFF = (
    ErrorCode.LOST,
    ErrorCode.STOPPED,
    ErrorCode.UNREACHABLE,
    ErrorCode.NOT_RUNNING,
    ErrorCode.NO_MEMORY,
    ErrorCode.CANNOT_WRITE,
)
"""Errors after which a training can be resumed."""


def start(
    context: bpy.types.Context, obj: bpy.types.Object, settings: TrainSettings, choices: SourceChoices
) -> Training:
    """Start a training of the current points of a splat, without changing the object.

    Raises:
        UserError: if the backend does not run, a training is running, the object is no splat, or cameras or folders
            are missing.
    """
    link.connected()
    if trainings.running:
        raise UserError("A training is already running", fix="Wait until it ends, or cancel it", code=ErrorCode.BUSY)
    cloud = point_cloud.to_cloud(obj)
    scene = cloud.fingerprint()
    same = scene == obj.saga.fingerprint
    cloud, known = (trained_space.to_cloud(obj), trained_model(obj)) if same else (cloud, "")
    to_points = trained_space.applied(obj) if same else np.eye(4)
    sources = sources_of(context, obj, choices, to_points)
    train = Train(scene, str(model_path(obj, scene)), settings, sources)
    request = _sent(LoadScene(scene, cloud, count=len(cloud), model_file=known), train)
    return Training(request, obj.session_uid, scene, len(cloud))


def resume() -> Training:
    """Send the interrupted training again, unchanged; the backend continues from its checkpoint.

    Raises:
        UserError: if no training was interrupted, or the backend does not run.
    """
    cut = trainings.interrupted
    if cut is None or not isinstance(cut.request.message, Train):
        raise UserError("No training was interrupted", fix="Press Train Affinity", code=ErrorCode.IDLE)
    return replace(cut, request=_sent(cut.request.load, cut.request.message))


def _sent(load: LoadScene | None, train: Train) -> SceneRequest:
    request = link.request(load, train)
    trainings.begin(request)
    status.tell("")
    return request


def unfinished(obj: bpy.types.Object) -> bool:
    """Whether the backend has a checkpoint of an unfinished training of this splat."""
    return Path(f"{model_path(obj, obj.saga.fingerprint)}.unfinished").is_dir()


def record(training: Training) -> Trained:
    """Record the result of a finished training on the objects. Returns the backend's answer.

    Raises:
        UserError: if the training failed, or the object is gone or its points have changed (the model is on disk).
        Cancelled: if the training was cancelled.
    """
    try:
        answer = training.request.outcome()
    except UserError as error:
        if error.code in _CUT_OFF:
            trainings.interrupt(training)
        raise
    assert isinstance(answer, Trained)
    _note_place(answer)
    models.set_levels(training.fingerprint, answer.levels)
    trainings.succeed(answer)
    obj = next((o for o in bpy.data.objects if o.session_uid == training.uid), None)
    if obj is not None and obj.saga.fingerprint != training.fingerprint:
        _adopt(obj, training)
    for sibling in bpy.data.objects:
        if sibling.saga.fingerprint == training.fingerprint:
            sibling.saga.model_file = portable(answer.model_file) if answer.model_file else sibling.saga.model_file
            sibling.saga.levels = answer.levels
    for scene in obj.users_scene if obj is not None else ():
        scene.saga.show_sources = False  # makes room for the Select panel, which comes next
    return answer


def _note_place(answer: Trained) -> None:
    """Record the location of the model: a file, or only the backend's memory."""
    if answer.unsaved and link.backend is not None:
        models.kept_in_backend(answer.scene, link.backend.starts, answer.unsaved)
    else:
        models.saved(answer.scene, answer.model_file)


def _adopt(obj: bpy.types.Object, training: Training) -> None:
    """Renumber the points of an object that no longer has the cloud it was imported with."""
    cloud = point_cloud.to_cloud(obj)
    if cloud.fingerprint() != training.fingerprint:
        raise UserError(
            f"The splat {obj.name} was changed during the training", "the model belongs to other points", "Train again"
        )
    point_cloud.identify(obj, cloud)
