"""Which file of weights the user has chosen."""

from __future__ import annotations

import bpy

from .paths import PACKAGE, absolute


def sam_weights() -> str:
    """Path of Segment Anything's weights on the backend's machine, "" if none were chosen."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    chosen = addon.preferences.sam_checkpoint if addon is not None else ""
    return absolute(chosen) if chosen else ""
