"""Pictures of an evaluation: image | truth | result, with one color for each object or part."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from blender_saga.gaussians.cloud import GaussianCloud

from ..rasterizer.cpu import render
from .metrics import deepest_pixel, selected_pixels
from .protocol import LEVELS, Level, ProtocolSettings, Selector, Task

TITLES = ("image", "truth", "result")
_BAR = 18  # height of the title bar, pixels
_PAINT = 0.65  # opacity of the paint


def color(index: int) -> np.ndarray:
    """The color [3] float 0..1 of a number. Neighboring numbers have different colors."""
    return np.array(colorsys.hsv_to_rgb(index * 0.618 % 1.0, 0.55 + 0.35 * (index % 3) / 2, 1.0))


def paint(rgb: np.ndarray, masks: Sequence[np.ndarray]) -> np.ndarray:
    """Paint masks over a picture, smaller masks last so that none hides another.

    Args:
        rgb: [H,W,3] float, 0..1.
        masks: [H,W] bool each; mask i has color i.
    """
    out = 0.55 * rgb.mean(axis=2, keepdims=True) + 0.1 * rgb
    for index in sorted(range(len(masks)), key=lambda i: -np.count_nonzero(masks[i])):
        out[masks[index]] = (1 - _PAINT) * rgb[masks[index]] + _PAINT * color(index)
    return out


def mark(rgb: np.ndarray, pixels: Sequence[np.ndarray] | np.ndarray, colors: Sequence[np.ndarray]) -> np.ndarray:
    """Draw a dot with a dark rim at each pixel (column, row) of a picture [H,W,3]."""
    out = rgb.copy()
    rows, columns = np.mgrid[0 : rgb.shape[0], 0 : rgb.shape[1]]
    for pixel, own in zip(pixels, colors, strict=True):
        distance = np.hypot(columns - pixel[0], rows - pixel[1])
        out[distance < 4.5], out[distance < 3] = 0.0, own
    return out


def sheet(rows: Sequence[tuple[np.ndarray, ...]], titles: Sequence[str] = TITLES) -> np.ndarray:
    """A sheet [H,W,3] uint8 of rows of three pictures under their titles.

    Args:
        rows: three pictures [h,w,3] float 0..1 each, of equal size in a row.
        titles: of the three columns.
    """
    width = max(3 * row[0].shape[1] + 8 for row in rows)
    bar = Image.new("RGB", (width, _BAR), (32, 32, 32))
    for number, title in enumerate(titles):
        ImageDraw.Draw(bar).text((number * width // 3 + 6, 3), title, fill=(230, 230, 230))
    bands = [np.asarray(bar)]
    for row in rows:
        gap = np.full((row[0].shape[0], 4, 3), 0.125)
        band = np.concatenate([row[0], gap, row[1], gap, row[2]], axis=1)
        band = np.pad(band, ((0, 4), (0, width - band.shape[1]), (0, 0)), constant_values=0.125)
        bands.append((np.clip(band, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.concatenate(bands)


def scene_sheet(selector: Selector, task: Task, cloud: GaussianCloud, settings: ProtocolSettings) -> np.ndarray | None:
    """A sheet of the view with the most objects: a row for each level, with one click for each object or part.

    Returns:
        [H,W,3] uint8; None if no view shows an object.
    """
    columns = task.labels.reshape(len(task.labels), -1).T
    pairs = zip(range(len(LEVELS)), columns, strict=False)
    levels = [Level(selector, task, np.ascontiguousarray(c), settings.of_level(n)) for n, c in pairs]
    index = int(np.argmax([len(_visible_labels(levels[0], i)) for i in range(len(task.sights))]))
    if not _visible_labels(levels[0], index):
        return None
    rgb = render(cloud, task.sights[index].view).rgb
    return sheet([_sheet_row(level, index, rgb) for level in levels])


def _visible_labels(level: Level, index: int) -> list[int]:
    values, counts = np.unique(level.maps[index], return_counts=True)
    return [int(v) for v, c in zip(values, counts, strict=True) if v > 0 and c >= level.settings.smallest]


def _sheet_row(level: Level, index: int, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels, rows = _visible_labels(level, index), level.task.sights[index].rows
    truth = [level.maps[index] == label for label in labels]
    pixels = [deepest_pixel(mask) for mask in truth]
    masks = [level.click("reference", label, index, p).mask for label, p in zip(labels, pixels, strict=True)]
    results = [drawn.reshape(rgb.shape[:2]) for drawn in selected_pixels(rows, np.stack(masks))] if masks else []
    colors = [color(i) for i in range(len(labels))]
    return mark(rgb, pixels, colors), paint(rgb, truth), paint(rgb, results)
