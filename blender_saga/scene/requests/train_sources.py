"""The views and masks of a training: from the user's choices to the request."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...wire.messages import SamOptions, TrainSources
from ..state.paths import model_path
from ..state.sam_settings import options_of
from . import trained_space
from .cameras import camera_views, scene_cameras
from .location import backends_path, elsewhere
from .weights import weights

_MOST_VIEWS = 2000
"""Limit of the number of views, whose values must fit into the header of one message."""


class SourceChoices(Protocol):
    """Views and masks as the user chose them: the sidebar's settings, or the operator's of a script.

    Attributes:
        views_from: "VIRTUAL", "CAMERAS" or "PHOTOS".
        cameras: a collection or its name, "" or None for all cameras of the scene.
        frame_step: 0 for the current frame, otherwise the step through the scene's frame range.
        photos: folder of cameras and photos, or the file of the cameras.
        masks_from: "BUILTIN", "SAM" or "FILES".
        masks_folder: of mask files; with "SAM" where they are kept, "": beside the model.
    """

    views_from: str
    cameras: bpy.types.Collection | str | None
    frame_step: int
    photos: str
    masks_from: str
    masks_folder: str


def _collection(choices: SourceChoices) -> str:
    """The name of the collection of cameras, "" for all cameras."""
    cameras = choices.cameras or ""
    return cameras if isinstance(cameras, str) else cameras.name


def _sam(choices: SourceChoices) -> SamOptions:
    """How Segment Anything is run; an operator may name weights other than the preferences'."""
    chosen = getattr(choices, "sam_weights", "")
    return options_of(choices, weights("SAM") if choices.masks_from == "SAM" and not chosen else chosen)


def check(context: bpy.types.Context, choices: SourceChoices) -> None:
    """Make sure that what was chosen exists; quick enough for a panel.

    Raises:
        UserError: what is missing.
    """
    if choices.views_from == "PHOTOS":
        _folder("photos", choices.photos, "Choose the folder with the photos and their cameras")
    if choices.views_from == "CAMERAS":
        scene_cameras(context, _collection(choices))
    if choices.masks_from == "FILES":
        if choices.views_from == "VIRTUAL":
            fix = "Set Views to Photos or Blender Cameras, or Masks to Built-In"
            raise UserError(
                "Mask files need photos or cameras",
                "views of the splat itself have no mask files",
                fix,
                ErrorCode.NO_VIEWS,
            )
        _folder("masks", choices.masks_folder, "Choose the folder with the mask files")
    if choices.masks_from == "SAM" and not _sam(choices).weights:
        fix = "Choose a file, or press Download"
        raise UserError("Segment Anything needs its weights", "no weights file is chosen", fix, ErrorCode.BAD_WEIGHTS)


def _folder(what: str, path: str, fix: str) -> Path:
    if not path:
        raise UserError(f"No folder of {what} is chosen", fix=fix, code=ErrorCode.NO_FOLDER)
    found = Path(backends_path(f"folder of {what}", path))
    if not elsewhere() and not found.exists():  # the other machine reports this itself
        raise UserError(f"The folder of {what} is missing", f"{found} does not exist", fix, code=ErrorCode.NO_FOLDER)
    return found


def sources_of(
    context: bpy.types.Context, obj: bpy.types.Object, choices: SourceChoices, to_points: np.ndarray
) -> TrainSources:
    """The views and masks of a training, as the request names them.

    Args:
        context: the context of the scene and view layer.
        obj: the splat.
        choices: the user's.
        to_points: [4,4] from the space of the sent cloud to object space.

    Raises:
        UserError: if something is missing.
    """
    check(context, choices)
    names: tuple[str, ...] = ()
    views: tuple = ()
    cameras, to_object = "", np.eye(4)
    if choices.views_from == "PHOTOS":
        cameras = backends_path("folder of photos", choices.photos)
        to_object = np.linalg.inv(to_points) @ trained_space.from_file(obj)
    if choices.views_from == "CAMERAS":
        seen = camera_views(context, scene_cameras(context, _collection(choices)), choices.frame_step, obj)
        if len(seen) > _MOST_VIEWS:
            fix = "Choose fewer cameras or a larger frame step"
            raise UserError(
                f"{len(seen)} views are too many", f"the limit is {_MOST_VIEWS}", fix, code=ErrorCode.TOO_MANY_VIEWS
            )
        names = tuple(name for name, _ in seen)
        views = tuple(view.of_object(to_points) for _, view in seen)
    masks = choices.masks_from.lower()
    return TrainSources(views, names, cameras, to_object, masks, _masks_folder(obj, choices), _sam(choices))


def _masks_folder(obj: bpy.types.Object, choices: SourceChoices) -> str:
    if choices.masks_from == "BUILTIN":
        return ""
    if choices.masks_folder or elsewhere():  # without a folder, the other machine chooses
        return backends_path("folder of masks", choices.masks_folder)
    model = model_path(obj, obj.saga.fingerprint)
    return str(model.with_name(f"{model.stem}_masks"))
