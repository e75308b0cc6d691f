"""A trained model as the bytes of its `.saga` file, for a client on another machine."""

from __future__ import annotations

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import ModelFile, OpenModel

from ..model import saga_file
from ..model.scene_model import SceneModel
from ..text import text_file
from ..text.answers import TextIndices


def open_model(request: OpenModel, count: int) -> tuple[SceneModel, saga_file.Header, TextIndices]:
    """The model that a client has sent, its header and its text indices.

    Args:
        request: the message.
        count: Gaussians of the scene.

    Raises:
        UserError: if it is no readable model, or the model of another cloud.
    """
    if request.data.dtype != np.uint8 or request.data.ndim != 1:
        raise UserError(
            f"{request.name} is not a readable .saga file",
            "it is no array of bytes",
            fix="Train it again",
            code=ErrorCode.BAD_MODEL,
        )
    tensors, facts = saga_file.unpack(request.data.tobytes(), request.name)
    model, header = saga_file.build_model(tensors, facts, request.name, request.scene)
    require_count(header, count, request.name)
    return model, header, TextIndices(model, text_file.read_indices(tensors, facts, model.count))


def require_count(header: saga_file.Header, count: int, name: str) -> None:
    """Make sure that a model has this number of Gaussians.

    Raises:
        UserError: if not.
    """
    if header.count != count:
        why = f"the model has {header.count} Gaussians, the scene has {count}"
        raise UserError(f"{name} is the model of another cloud", why, fix="Train it again", code=ErrorCode.OTHER_CLOUD)


def make_model_file(scene: str, model: SceneModel, header: saga_file.Header, described: TextIndices) -> ModelFile:
    """The file of a model as bytes."""
    tensors, facts = saga_file.contents(model, header)
    if described.model is model:
        for index in described.indices.values():
            text_file.put(tensors, facts, index)
    return ModelFile(scene, np.frombuffer(saga_file.pack(tensors, facts), np.uint8))
