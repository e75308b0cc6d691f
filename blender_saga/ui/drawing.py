"""Small pieces of panels."""

from __future__ import annotations

import textwrap

import bpy

_CHARACTER_PIXELS = 6.5  # mean width of a letter of Blender's interface font at scale 1
_MARGIN_PIXELS = 60.0
_BLOCK_PIXELS = 11.1  # a block is as wide as the font is high, and so is the first, which is an em space
_BLOCKS = "\u2003▁▂▃▄▅▆▇█"
_CURVE_LINES = 3
_CURVE_LINE = 0.5  # of a label's height: lines of blocks stand on each other without a gap


def _fitting(character_pixels: float) -> int:
    """How many characters fit into a line of the region."""
    region = bpy.context.region
    pixels = region.width / bpy.context.preferences.system.ui_scale if region else 400.0
    return int((pixels - _MARGIN_PIXELS) / character_pixels)


def draw_text(layout: bpy.types.UILayout, text: str, icon: str = "NONE") -> None:
    """A sentence, broken into lines where the region is narrow: Blender would cut it off."""
    width = max(20, _fitting(_CHARACTER_PIXELS))
    column = layout.column(align=True)
    column.alert = icon == "ERROR"
    for i, line in enumerate(textwrap.wrap(text, width)):
        column.label(text=line, icon=icon if i == 0 else ("NONE" if icon == "NONE" else "BLANK1"))


def draw_progress(layout: bpy.types.UILayout, fraction: float, text: str) -> None:
    """A progress bar with words on it."""
    layout.progress(factor=min(max(fraction, 0.0), 1.0), text=text)


def curve_width() -> int:
    """How many columns a curve may have."""
    return min(max(8, _fitting(_BLOCK_PIXELS)), 40)


def draw_curve(layout: bpy.types.UILayout, values: list[float]) -> None:
    """Numbers as columns beside each other, from the lowest to the highest: panels draw nothing but text."""
    column = layout.column(align=True)
    column.scale_y = _CURVE_LINE
    for line in curve_lines(values, _CURVE_LINES):
        column.label(text=line)


def curve_lines(values: list[float], lines: int) -> list[str]:
    """A curve in block characters, the top line first; the lowest value is one eighth high, the highest all lines."""
    low, high = min(values), max(values)
    steps = 8 * lines - 1
    heights = [1 + round(steps * (value - low) / (high - low or 1.0)) for value in values]
    return [
        "".join(_BLOCKS[min(max(height - 8 * line, 0), 8)] for height in heights) for line in reversed(range(lines))
    ]


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
