"""The switch between objects and parts, which replaces the scale slider for models with levels."""

from __future__ import annotations

import bpy


def shown_levels(count: int) -> tuple[str, ...]:
    """The identifiers of the levels of a model with `count` levels, coarsest first."""
    return ("COARSE", "MIDDLE", "FINE") if count > 2 else ("COARSE", "FINE")


def draw_levels(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, count: int) -> None:
    """Draw the switch."""
    row = layout.row(align=True)
    for name in shown_levels(count):
        row.prop_enum(settings, "level", name)


def neighbor_level(level: str, count: int, coarser: bool) -> str:
    """The next coarser or finer level, or the same level at the end."""
    names = shown_levels(count)
    place = names.index(level) if level in names else 0
    return names[max(0, place - 1) if coarser else min(len(names) - 1, place + 1)]
