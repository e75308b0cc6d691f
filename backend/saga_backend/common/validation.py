"""What a message must keep to before anything is computed from it: sizes that fit a memory, numbers that are numbers.

The codec holds that every field has its type; these are the values. Kernels run without bounds checks, and libraries
loop for ever on numbers that are none: nothing gets to them that has not been through here.
"""

from __future__ import annotations

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.codec import MAX_FRAME
from blender_saga.wire.messages import Click, LoadScene, ObjectPoints

MOST_PIXELS = 1 << 27
"""Of a view: 16,384 by 8,192, more than any screen and most renders have."""
MOST_POINTS = 1 << 28
"""Of all objects that take part in a query together."""
LONGEST_NAME = 1000
"""Letters of a scene's name, which is a fingerprint."""
_NARROWEST = 50  # times as long as wide
_LARGEST = 1e15  # in scene units, pixels, factors: its square is a number in single precision too


def check_scene(request: LoadScene) -> None:
    """Refuse a scene that cannot be held or is not made of numbers.

    Raises:
        UserError: if so (code "bad_scene").
    """
    cloud, count = request.cloud, request.count or len(request.cloud)
    if len(request.scene) > LONGEST_NAME:
        raise _bad_scene("its name is far too long")
    if count < len(cloud):
        raise _bad_scene(f"it has {len(cloud):,} points and says that it has {count:,}")
    bytes_each = 4 * (11 + 3 * cloud.sh.shape[1])
    if count * bytes_each > MAX_FRAME:
        raise _bad_scene(f"it says that it has {count:,} points, which would take {count * bytes_each >> 30:,} GiB")
    check_cloud(cloud)
    if not _whole_numbers(request.ids):
        raise _bad_scene("its ids are no list of whole numbers")


def check_cloud(cloud: GaussianCloud) -> None:
    """Refuse Gaussians whose numbers are not finite, or beyond all measure.

    Raises:
        UserError: if so (code "bad_scene").
    """
    for name in ("means", "quats", "scales", "opacities", "sh"):
        if not _sound(getattr(cloud, name)):
            raise _bad_scene(f"some of its {name} are not finite, or beyond {_LARGEST:g}")


def _bad_scene(why: str) -> UserError:
    return UserError("The scene cannot be loaded", why, "Import the splat again", ErrorCode.BAD_SCENE)


def check_view(view: View) -> None:
    """Refuse a view that no camera has.

    Raises:
        UserError: if so (code "bad_view").
    """
    if view.width * view.height > MOST_PIXELS:
        why = f"it has {view.width:,} x {view.height:,} pixels"
        raise UserError("The view is not usable", why, "Use a smaller picture", ErrorCode.BAD_VIEW)
    # A matrix that cannot be inverted shows everything on a line; the near plane may be as far off as float32 goes.
    if not (_sound(view.viewmat) and _sound(view.K)) or np.isnan(view.near) or not _invertible(view.viewmat):
        raise UserError(
            "The view is not usable", "its numbers are not those of a camera", fix=REPORT, code=ErrorCode.BAD_VIEW
        )


def check_shape(view: View) -> None:
    """Refuse a view that is so narrow that nothing is left of it at the size at which Segment Anything looks.

    Raises:
        UserError: if so (code "bad_view").
    """
    if max(view.width, view.height) > _NARROWEST * min(view.width, view.height):
        why = f"it has {view.width:,} x {view.height:,} pixels"
        raise UserError("The view is too narrow for Segment Anything", why, "Make it wider", ErrorCode.BAD_VIEW)


def check_objects(objects: tuple[ObjectPoints, ...], count: int) -> None:
    """Refuse objects that say nothing about the points of a cloud of `count` Gaussians.

    Raises:
        UserError: if so (code "bad_ids", "bad_view" or "bad_scene").
    """
    if sum(part.ids.size or count for part in objects) > MOST_POINTS:
        raise _bad_object(f"all together they have more than {MOST_POINTS:,} points")
    for part in objects:
        if part.matrix.shape != (4, 4) or not _sound(part.matrix):
            why = "where it stands is not a matrix of 4x4 numbers"
            raise UserError("An object is not usable", why, fix=REPORT, code=ErrorCode.BAD_VIEW)
        if not (_whole_numbers(part.ids) and _whole_numbers(part.moved)):
            raise _bad_object("its points are no list of whole numbers")
        check_cloud(part.cloud)


def _bad_object(why: str) -> UserError:
    return UserError("An object is not usable", why, fix=REPORT, code=ErrorCode.BAD_IDS)


def check_click(request: Click, count: int) -> None:
    """Refuse a click whose views, pixels or objects are not those of pictures.

    Args:
        request: the click.
        count: Gaussians of its scene.

    Raises:
        UserError: if so (code "bad_view", "bad_click", "bad_ids" or "bad_scene").
    """
    for prompt in request.prompts:
        check_view(prompt.view)
        if prompt.pixels.dtype.kind not in "fiu":
            raise UserError(
                "The click is not usable", "its pixels are not numbers", fix=REPORT, code=ErrorCode.BAD_CLICK
            )
    check_objects(request.objects, count)


def _whole_numbers(array: np.ndarray) -> bool:
    return array.ndim == 1 and array.dtype.kind in "iu"


def _sound(array: np.ndarray) -> bool:
    """Whether all are numbers within measure; no copy is made, a cloud may be all that fits."""
    if array.dtype.kind not in "fiu":
        return False
    return not array.size or bool(array.min() >= -_LARGEST and array.max() <= _LARGEST)  # NaN is neither


def _invertible(matrix: np.ndarray) -> bool:
    try:
        return bool(np.isfinite(np.linalg.inv(matrix)).all())
    except np.linalg.LinAlgError:
        return False
