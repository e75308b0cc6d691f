"""Drawing helpers of the panels."""

from __future__ import annotations

import textwrap

import bpy

from ..scene.requests.refine import shown_levels

_CHARACTER_PIXELS = 6.5  # mean width of a character of Blender's interface font at scale 1
_MARGIN_PIXELS = 60.0
_BLOCK_PIXELS = (
    11.1  # a block character is as wide as the font is high; so is the em space that stands for an empty one
)
_BLOCKS = "\u2003▁▂▃▄▅▆▇█"
_CURVE_LINES = 3
_CURVE_LINE = 0.5  # of a label's height, so that lines of blocks touch


def _fitting(character_pixels: float) -> int:
    """The number of characters that fit on a line of the region."""
    region = bpy.context.region
    pixels = region.width / bpy.context.preferences.system.ui_scale if region else 400.0
    return int((pixels - _MARGIN_PIXELS) / character_pixels)


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """Draw a sentence with line breaks; Blender would cut it off in a narrow region."""
    width = max(20, _fitting(_CHARACTER_PIXELS))
    column = layout.column(align=True)
    column.alert = icon == "ERROR"
    for i, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if i == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


def draw_progress(layout: bpy.types.UILayout, fraction: float, text: str) -> None:
    """Draw a progress bar with a text."""
    layout.progress(factor=min(max(fraction, 0.0), 1.0), text=text)


def curve_width() -> int:
    """The largest number of columns of a curve."""
    return min(max(8, _fitting(_BLOCK_PIXELS)), 40)


def draw_curve(layout: bpy.types.UILayout, values: list[float]) -> None:
    """Draw numbers as a column chart of block characters, because panels can only draw text."""
    column = layout.column(align=True)
    column.scale_y = _CURVE_LINE
    for line in curve_lines(values, _CURVE_LINES):
        column.label(text=line)


def curve_lines(values: list[float], lines: int) -> list[str]:
    """A chart in block characters, the top line first; the lowest value is one eighth of a line high."""
    low, high = min(values), max(values)
    steps = 8 * lines - 1
    heights = [1 + round(steps * (value - low) / (high - low or 1.0)) for value in values]
    return [
        "".join(_BLOCKS[min(max(height - 8 * line, 0), 8)] for height in heights) for line in reversed(range(lines))
    ]


def draw_buttons(layout: bpy.types.UILayout, *buttons: tuple[str, str, bool], **settings: tuple[object, ...]) -> None:
    """Draw operators side by side, each as (idname, text, enabled).

    `settings` maps an operator property to its values, one for each button that has this property.
    """
    row = layout.row(align=True)
    row.operator_context = "INVOKE_DEFAULT"  # the default in the preferences is to execute, which would block
    for i, (idname, text, enabled) in enumerate(buttons):
        cell = row.row(align=True)
        cell.enabled = enabled
        properties = cell.operator(idname, text=text)
        for name, values in settings.items():
            if i < len(values):
                setattr(properties, name, values[i])


def remaining(seconds: float) -> str:
    """The remaining time in words; a negative number means unknown."""
    if seconds < 0:
        return "estimating"
    if seconds < 60:
        return f"{seconds:.0f} s left"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s left"


def draw_levels(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup, count: int) -> None:
    """Draw the switch between objects and parts, which replaces the scale slider for models with `count` levels."""
    row = layout.row(align=True)
    for name in shown_levels(count):
        row.prop_enum(settings, "level", name)
