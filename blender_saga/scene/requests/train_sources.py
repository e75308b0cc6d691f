"""What a training is to look at, as the sidebar and scripts say it, and as the backend is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import bpy
import numpy as np

from ...errors import ErrorCode, UserError
from ...wire.messages import SamOptions, TrainSources
from ..state.paths import model_path
from . import trained_space
from .cameras import camera_views, scene_cameras
from .location import backends_path, elsewhere

_MOST_VIEWS = 2000
"""Their numbers have to fit into the header of one message."""


@dataclass(frozen=True)
class SourceSettings:
    """Views and masks; the names are those of the scene's settings (properties.py).

    Attributes:
        views_from: "VIRTUAL", "CAMERAS" or "PHOTOS".
        cameras: name of a collection, "" for all cameras of the scene.
        frame_step: 0 for the present frame, else every so many frames of the scene's range.
        photos: folder of cameras and photos, or their file.
        masks_from: "BUILTIN", "SAM" or "FILES".
        masks_folder: of mask files; with "SAM" where they are kept, "": beside the model.
        sam: how masks are found, and by which weights.
    """

    views_from: str = "VIRTUAL"
    cameras: str = ""
    frame_step: int = 0
    photos: str = ""
    masks_from: str = "BUILTIN"
    masks_folder: str = ""
    sam: SamOptions = field(default_factory=SamOptions)


def check(context: bpy.types.Context, wanted: SourceSettings) -> None:
    """Make sure that what is wanted can be there; quick enough for a panel.

    Raises:
        UserError: what is missing.
    """
    if wanted.views_from == "PHOTOS":
        _folder("photos", wanted.photos, "Choose the folder with the photos and their cameras")
    if wanted.views_from == "CAMERAS":
        scene_cameras(context, wanted.cameras)
    if wanted.masks_from == "FILES":
        if wanted.views_from == "VIRTUAL":
            fix = "Choose Photos or Blender Cameras under Views, or masks Built In"
            raise UserError(
                "Mask files need views to belong to", "views of the splat itself have none", fix, ErrorCode.NO_VIEWS
            )
        _folder("masks", wanted.masks_folder, "Choose the folder with the mask files")
    if wanted.masks_from == "SAM" and not wanted.sam.weights:
        fix = "Choose the file, or press Download"
        raise UserError("Segment Anything needs its weights", "no file was chosen", fix, ErrorCode.BAD_WEIGHTS)


def _folder(what: str, path: str, fix: str) -> Path:
    if not path:
        raise UserError(f"No folder of {what} was given", fix=fix, code=ErrorCode.NO_FOLDER)
    found = Path(backends_path(f"folder of {what}", path))
    if not elsewhere() and not found.exists():  # the other machine says so itself
        raise UserError(f"The folder of {what} is missing", f"there is no {found}", fix, code=ErrorCode.NO_FOLDER)
    return found


def sources_of(
    context: bpy.types.Context, obj: bpy.types.Object, wanted: SourceSettings, to_points: np.ndarray
) -> TrainSources:
    """What the backend is told.

    Args:
        context: whose scene and view layer are looked at.
        obj: the splat.
        wanted: by the user.
        to_points: [4,4] from the space in which the cloud is sent to that of the object's points.

    Raises:
        UserError: what is missing.
    """
    check(context, wanted)
    names: tuple[str, ...] = ()
    views: tuple = ()
    cameras, to_object = "", np.eye(4)
    if wanted.views_from == "PHOTOS":
        cameras = backends_path("folder of photos", wanted.photos)
        to_object = np.linalg.inv(to_points) @ trained_space.from_file(obj)
    if wanted.views_from == "CAMERAS":
        seen = camera_views(context, scene_cameras(context, wanted.cameras), wanted.frame_step, obj)
        if len(seen) > _MOST_VIEWS:
            fix = "Choose fewer cameras or a larger step between frames"
            raise UserError(
                f"{len(seen)} views are too many", f"{_MOST_VIEWS} at most", fix, code=ErrorCode.TOO_MANY_VIEWS
            )
        names = tuple(name for name, _ in seen)
        views = tuple(view.of_object(to_points) for _, view in seen)
    masks = wanted.masks_from.lower()
    return TrainSources(views, names, cameras, to_object, masks, _masks_folder(obj, wanted), wanted.sam)


def _masks_folder(obj: bpy.types.Object, wanted: SourceSettings) -> str:
    if wanted.masks_from == "BUILTIN":
        return ""
    if wanted.masks_folder or elsewhere():  # without one the other machine chooses
        return backends_path("folder of masks", wanted.masks_folder)
    model = model_path(obj, obj.saga.fingerprint)
    return str(model.with_name(f"{model.stem}_masks"))
