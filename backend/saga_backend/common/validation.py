"""Checks on the values of messages before computation: sizes that fit into memory, numbers that are finite.

The codec checks the types; this module checks the values. Kernels run without bounds checks, and some libraries never
return on NaN, so every value passes these checks first.
"""

from __future__ import annotations

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.codec import MAX_FRAME
from blender_saga.wire.messages import Click, LoadScene, ObjectPoints

MAX_PIXELS = 1 << 27
"""Limit for a view: 16,384 by 8,192 pixels, more than any screen and most renders have."""
MAX_POINTS = 1 << 28
"""Limit for all objects of a query together."""
MAX_NAME_LENGTH = 1000
"""Characters of a scene's name, which is a fingerprint."""
_MAX_ASPECT = 50  # long side over short side
_MAX_VALUE = 1e15  # scene units, pixels or factors: the square is finite in single precision


def check_scene(request: LoadScene) -> None:
    """Reject a scene that is too large or has invalid numbers.

    Raises:
        UserError: if the check fails (code "bad_scene").
    """
    cloud, count = request.cloud, request.count or len(request.cloud)
    if len(request.scene) > MAX_NAME_LENGTH:
        raise _bad_scene("its name is too long")
    if count < len(cloud):
        raise _bad_scene(f"it has {len(cloud):,} points, and its header says {count:,}")
    bytes_each = 4 * (11 + 3 * cloud.sh.shape[1])
    if count * bytes_each > MAX_FRAME:
        raise _bad_scene(f"its {count:,} points would take {count * bytes_each >> 30:,} GiB")
    check_cloud(cloud)
    if not _is_integer_list(request.ids):
        raise _bad_scene("its ids are not a list of integers")


def check_cloud(cloud: GaussianCloud) -> None:
    """Reject Gaussians whose numbers are not finite or too large.

    Raises:
        UserError: if the check fails (code "bad_scene").
    """
    for name in ("means", "quats", "scales", "opacities", "sh"):
        if not _is_finite(getattr(cloud, name)):
            raise _bad_scene(f"some of its {name} are not finite or exceed {_MAX_VALUE:g}")


def _bad_scene(why: str) -> UserError:
    return UserError("The scene cannot be loaded", why, "Import the splat again", ErrorCode.BAD_SCENE)


def check_view(view: View) -> None:
    """Reject a view that no camera can have.

    Raises:
        UserError: if the check fails (code "bad_view").
    """
    if view.width * view.height > MAX_PIXELS:
        why = f"it has {view.width:,} x {view.height:,} pixels"
        raise UserError("The view is not usable", why, "Use a smaller resolution", ErrorCode.BAD_VIEW)
    # A singular matrix flattens the scene; the near plane may be as far away as float32 allows.
    if not (_is_finite(view.viewmat) and _is_finite(view.K)) or np.isnan(view.near) or not _is_invertible(view.viewmat):
        raise UserError(
            "The view is not usable", "its numbers do not describe a camera", fix=REPORT, code=ErrorCode.BAD_VIEW
        )


def check_shape(view: View) -> None:
    """Reject a view that is too narrow: Segment Anything would scale its short side down to nothing.

    Raises:
        UserError: if the check fails (code "bad_view").
    """
    if max(view.width, view.height) > _MAX_ASPECT * min(view.width, view.height):
        why = f"it has {view.width:,} x {view.height:,} pixels"
        raise UserError("The view is too narrow for Segment Anything", why, "Make it wider", ErrorCode.BAD_VIEW)


def check_objects(objects: tuple[ObjectPoints, ...], count: int) -> None:
    """Reject objects that do not fit a cloud of `count` Gaussians.

    Raises:
        UserError: if the check fails (code "bad_ids", "bad_view" or "bad_scene").
    """
    if sum(part.ids.size or count for part in objects) > MAX_POINTS:
        raise _bad_object(f"all objects together have more than {MAX_POINTS:,} points")
    for part in objects:
        if part.matrix.shape != (4, 4) or not _is_finite(part.matrix):
            why = "its transform is not a 4x4 matrix of numbers"
            raise UserError("An object is not usable", why, fix=REPORT, code=ErrorCode.BAD_VIEW)
        if not (_is_integer_list(part.ids) and _is_integer_list(part.moved)):
            raise _bad_object("its points are not a list of integers")
        check_cloud(part.cloud)


def _bad_object(why: str) -> UserError:
    return UserError("An object is not usable", why, fix=REPORT, code=ErrorCode.BAD_IDS)


def check_click(request: Click, count: int) -> None:
    """Reject a click with an invalid view, pixel or object.

    Args:
        request: the click.
        count: number of Gaussians in its scene.

    Raises:
        UserError: if the check fails (code "bad_view", "bad_click", "bad_ids", "bad_scene" or "bad_settings").
    """
    check_share(request.options.scale)
    check_share(request.options.threshold)
    for prompt in request.prompts:
        check_view(prompt.view)
        if prompt.pixels.dtype.kind not in "fiu":
            raise UserError(
                "The click is not usable", "its pixels are not numbers", fix=REPORT, code=ErrorCode.BAD_CLICK
            )
    check_objects(request.objects, count)


def check_share(value: float) -> None:
    """Refuse a scale or threshold beyond 1; a negative one is automatic.

    Raises:
        UserError: if so (code "bad_settings").
    """
    if not value <= 1:  # so that NaN is refused too
        what, why = "Scale and threshold must lie between 0 and 1", f"got {value:g}"
        raise UserError(what, why, fix="Use a number from 0 to 1", code=ErrorCode.BAD_SETTINGS)


def _is_integer_list(array: np.ndarray) -> bool:
    return array.ndim == 1 and array.dtype.kind in "iu"


def _is_finite(array: np.ndarray) -> bool:
    """Whether all values are finite and not too large; makes no copy, because a cloud may fill the memory."""
    if array.dtype.kind not in "fiu":
        return False
    return not array.size or bool(array.min() >= -_MAX_VALUE and array.max() <= _MAX_VALUE)  # NaN fails both


def _is_invertible(matrix: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(np.linalg.inv(matrix)).all())
    except np.linalg.LinAlgError:
        return False
