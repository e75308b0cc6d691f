"""Find the objects of an operator: the named or active one, and all that share its model."""

from __future__ import annotations

import bpy

from ...errors import ErrorCode, UserError
from ..splat import instances, point_cloud
from ..state.link import link
from ..state.models import models
from ..state.paths import absolute
from ..state.trainings import trainings


def find_splat(context: bpy.types.Context, name: str) -> bpy.types.Object:
    """The splat object `name`, or the active one if `name` is empty.

    Raises:
        UserError: if there is no such splat, or it cannot be changed here.
    """
    obj = bpy.data.objects.get(name) if name else context.view_layer.objects.active
    if obj is None:
        what = f"There is no object {name}" if name else "No splat is active"
        raise UserError(what, fix="Select a splat object, or import one with File > Import", code=ErrorCode.NO_OBJECT)
    if instances.shows_splats(obj):
        what, why = f"{obj.name} is an instance of a collection", "its splats belong to the objects of the collection"
        raise UserError(
            what,
            why,
            "Select an object of the collection, or use Object > Apply > Make Instances Real",
            ErrorCode.INSTANCE,
        )
    point_cloud.require(obj)
    if obj.library is not None or obj.data.library is not None:
        raise UserError(
            f"The splat {obj.name} is linked from another file",
            fix="Make it local first (Object > Relations > Make Local)",
            code=ErrorCode.LINKED,
        )
    return obj


def siblings(obj: bpy.types.Object) -> list[bpy.types.Object]:
    """All splats of the file that share the trained cloud of `obj`, starting with `obj`."""
    key = obj.saga.fingerprint
    others = [o for o in bpy.data.objects if o != obj and key and o.saga.fingerprint == key]
    return [obj, *(o for o in others if point_cloud.is_splat(o) and len(o.data.points))]


def participants(context: bpy.types.Context, obj: bpy.types.Object) -> list[bpy.types.Object]:
    """The siblings that are visible in the view layer, and in the viewport if there is one.

    Raises:
        UserError: if all of them are hidden.
    """
    space = context.space_data if isinstance(context.space_data, bpy.types.SpaceView3D) else None
    visible = [o for o in siblings(obj) if o.visible_get(viewport=space)]
    if not visible:
        raise UserError(
            f"The splat {obj.name} is hidden", fix="Click its eye icon in the Outliner", code=ErrorCode.HIDDEN
        )
    return visible


def active_first(context: bpy.types.Context, name: str) -> list[bpy.types.Object]:
    """The named splat, or the active one followed by the `participants` that share its model.

    Raises:
        UserError: as `find_splat` and `participants`.
    """
    obj = find_splat(context, name)
    return [obj] if name else sorted(participants(context, obj), key=lambda other: other != obj)


def with_selection(context: bpy.types.Context, name: str) -> list[bpy.types.Object]:
    """The objects of `active_first` with a selection, one for each data-block.

    Raises:
        UserError: if no object has a selection.
    """
    objects = active_first(context, name)
    selected = {o.data.session_uid: o for o in reversed(objects) if point_cloud.selection(o).any()}
    if not selected:
        raise UserError(
            f"Nothing is selected in {objects[0].name}", fix="Click on an object first", code=ErrorCode.NO_SELECTION
        )
    return list(reversed(selected.values()))


def trained_model(obj: bpy.types.Object) -> str:
    """Absolute path of a splat's model file; "" before training and while the newest model is not saved."""
    if link.holds(obj.saga.fingerprint):
        return ""  # an older file must not replace the unsaved model
    return absolute(obj.saga.model_file) if obj.saga.model_file else models.paths.get(obj.saga.fingerprint, "")


def is_trained(obj: bpy.types.Object) -> bool:
    """Whether a splat can be clicked: it has a model on disk or in the backend, or is being trained."""
    return bool(trained_model(obj)) or trains_now(obj) or link.holds(obj.saga.fingerprint)


def granularity(obj: bpy.types.Object | None) -> int:
    """Number of granularity levels of a splat's model; 0 for a continuous scale or without a model."""
    if obj is None or not point_cloud.is_splat(obj):
        return 0
    return models.levels.get(obj.saga.fingerprint, obj.saga.levels)


def trains_now(obj: bpy.types.Object) -> bool:
    """Whether a training of the splat's cloud is running."""
    return trainings.trains(obj.saga.fingerprint)


def not_trained(obj: bpy.types.Object) -> UserError:
    """The error for a click before training."""
    return UserError(
        f"The splat {obj.name} is not trained yet", fix="Press Train Affinity first", code=ErrorCode.NO_MODEL
    )


def require_rows(obj: bpy.types.Object, rows: int) -> None:
    """Check that an answer has one row for each Gaussian of a splat's trained cloud.

    Raises:
        UserError: if the number of rows differs.
    """
    if rows != obj.saga.count:
        why = f"it has {rows:,} Gaussians, but the splat {obj.name} has {obj.saga.count:,}"
        raise UserError(
            "The backend's answer cannot be used", why, "Press Restart; nothing was changed", ErrorCode.WIRE
        )
