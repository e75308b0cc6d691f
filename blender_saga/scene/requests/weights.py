"""The weights files chosen for the backend's machine."""

from __future__ import annotations

import bpy

from ...errors import ErrorCode, UserError
from ..state.paths import PACKAGE, absolute
from .location import elsewhere


def weights_property(family: str) -> str:
    """The property of the preferences with the path of the weights of a family, "SAM" or "CLIP"."""
    return f"{'remote_' if elsewhere() else ''}{family.lower()}_weights"


def weights(family: str) -> str:
    """Path of the weights of a family, "SAM" or "CLIP", on the backend's machine; "" if none is chosen."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    chosen = getattr(addon.preferences, weights_property(family)) if addon is not None else ""
    return chosen if elsewhere() or not chosen else absolute(chosen)


def clip_weights(given: str = "") -> str:
    """The file of CLIP's weights: the given one, or the one from the preferences.

    Raises:
        UserError: if there is neither.
    """
    path = given or weights("CLIP")
    if not path:
        fix = "Choose CLIP Weights (ViT-B-16) in the sidebar or the preferences"
        raise UserError("A text needs CLIP's weights", "no weights file is chosen", fix, ErrorCode.BAD_WEIGHTS)
    return path
