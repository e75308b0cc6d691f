"""Which files of weights the user has chosen, for the machine where the backend runs."""

from __future__ import annotations

import bpy

from ..state.paths import PACKAGE, absolute
from .location import elsewhere


def weights_property(family: str) -> str:
    """The property of the preferences that has their path: family "SAM" or "CLIP"."""
    return f"{'remote_' if elsewhere() else ''}{family.lower()}_weights"


def weights(family: str) -> str:
    """Path of the weights on the backend's machine, "" if none were chosen: family "SAM" or "CLIP"."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    chosen = getattr(addon.preferences, weights_property(family)) if addon is not None else ""
    return chosen if elsewhere() or not chosen else absolute(chosen)
