"""Small pieces of panels."""

from __future__ import annotations

import textwrap

import bpy

_CHARACTER_PIXELS = 6.5  # mean width of a letter of Blender's interface font at scale 1
_MARGIN_PIXELS = 60.0


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A sentence, broken into lines where the region is narrow: Blender would cut it off."""
    region = bpy.context.region
    pixels = region.width / bpy.context.preferences.system.ui_scale if region else 400.0
    width = max(20, int((pixels - _MARGIN_PIXELS) / _CHARACTER_PIXELS))
    column = layout.column(align=True)
    column.alert = icon == "ERROR"
    for i, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if i == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


def draw_progress(layout: bpy.types.UILayout, fraction: float, text: str) -> None:
    """A progress bar with words on it."""
    layout.progress(factor=min(max(fraction, 0.0), 1.0), text=text)


def draw_buttons(layout: bpy.types.UILayout, *buttons: tuple[str, str, bool], **settings: tuple[object, ...]) -> None:
    """Operators side by side, each as (idname, text, whether it can be pressed).

    `settings`: of a property of the operators, the value for each button that has one.
    """
    row = layout.row(align=True)
    row.operator_context = "INVOKE_DEFAULT"  # in the preferences the default is to execute, which would wait
    for i, (idname, text, enabled) in enumerate(buttons):
        cell = row.row(align=True)
        cell.enabled = enabled
        properties = cell.operator(idname, text=text)
        for name, values in settings.items():
            if i < len(values):
                setattr(properties, name, values[i])


def remaining(seconds: float) -> str:
    """A time that is left, in words; negative: unknown."""
    if seconds < 0:
        return "estimating"
    if seconds < 60:
        return f"{seconds:.0f} s left"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s left"
