"""A trained model as the bytes of its `.saga` file, for a client whose files are on another machine."""

from __future__ import annotations

import numpy as np

from blender_saga.wire.errors import UserError
from blender_saga.wire.messages import ModelFile, OpenModel

from . import sidecar
from .scene_model import SceneModel
from .text import text_sidecar
from .text.answers import Described


def opened(request: OpenModel, count: int) -> tuple[SceneModel, sidecar.Header, Described]:
    """What a client has sent: the model, its header and what texts have found out.

    Args:
        request: the message.
        count: Gaussians of the scene.

    Raises:
        UserError: if it is no readable model, or that of another cloud.
    """
    if request.data.dtype != np.uint8 or request.data.ndim != 1:
        raise UserError(
            f"{request.name} is not a readable .saga file",
            "it is not made of bytes",
            fix="Train it again",
            code="bad_model",
        )
    tensors, facts = sidecar.unpacked(request.data.tobytes(), request.name)
    model, header = sidecar.opened(tensors, facts, request.name, request.scene)
    require_count(header, count, request.name)
    return model, header, Described(model, text_sidecar.taken(tensors, facts, model.count))


def require_count(header: sidecar.Header, count: int, name: str) -> None:
    """Make sure that a model is for so many Gaussians.

    Raises:
        UserError: if not.
    """
    if header.count != count:
        why = f"it is for {header.count} Gaussians, the scene has {count}"
        raise UserError(f"{name} is the model of another cloud", why, fix="Train it again", code="other_cloud")


def file_of(scene: str, model: SceneModel, header: sidecar.Header, described: Described) -> ModelFile:
    """The bytes of the file that a model would be saved as."""
    tensors, facts = sidecar.contents(model, header)
    if described.model is model:
        for index in described.indices.values():
            text_sidecar.put(tensors, facts, index)
    return ModelFile(scene, np.frombuffer(sidecar.packed(tensors, facts), np.uint8))
