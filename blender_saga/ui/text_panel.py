"""The panel Find by Text: the text, and the candidates with a picture of each."""

from __future__ import annotations

import bpy
import bpy.utils.previews
import numpy as np

from ..scene.requests import text as texts
from ..scene.requests.lookup import find_splat
from ..scene.state.searches import searches
from ..wire.messages import Candidates, FindText, NameSegments
from .drawing import draw_progress, draw_text, remaining
from .panel_base import SagaPanel, check_clickable, draw_missing_clip, reason

_PICTURE_SCALE = 3.0  # relative to an icon
_pictures: bpy.utils.previews.ImagePreviewCollection | None = None


class SAGA_PT_text(SagaPanel, bpy.types.Panel):
    """Find objects by text"""

    bl_label = "Find by Text"
    bl_parent_id = "SAGA_PT_select"
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the text box and the candidates, or the missing prerequisites."""
        layout, search = self.layout, searches.request
        problem = reason(lambda: check_clickable(context))
        if problem:
            draw_text(layout, problem, "INFO")
        missing = draw_missing_clip(layout)
        if search is not None and not search.ended and isinstance(search.message, FindText | NameSegments):
            progress = search.job.progress
            text = f"{progress.phase}, {remaining(progress.eta)}" if progress else "Waiting for the backend"
            draw_progress(layout, search.job.fraction, text)
            layout.operator("saga.cancel", icon="CANCEL").what = "SEARCH"
            return
        row = layout.row(align=True)
        row.enabled = not problem and not missing
        row.prop(context.scene.saga, "text", text="", icon="VIEWZOOM")
        row.operator("saga.find_text", text="Find")
        answer = None if reason(lambda: find_splat(context, "")) else texts.of(find_splat(context, ""))
        if answer is not None:
            draw_candidates(layout, answer)
        self._draw_names(context, bool(problem or missing))

    def _draw_names(self, context: bpy.types.Context, off: bool) -> None:
        """Draw the naming of the segments, if there are any."""
        if reason(lambda: find_splat(context, "")) or not len(find_splat(context, "").saga.segments):
            return
        row = self.layout.row(align=True)
        row.enabled = not off
        row.prop(context.scene.saga, "words", text="")
        row.operator("saga.name_segments", text="Name Segments")


def draw_candidates(layout: bpy.types.UILayout, answer: Candidates) -> None:
    """Draw one row per candidate: a picture, the score and the number of Gaussians."""
    if not answer.matches:
        draw_text(layout, answer.note or f"No object matches '{answer.text}'", "INFO")
    column = layout.column(align=True)
    for number, fits in enumerate(texts.fits(answer)):
        row = column.row(align=True)
        row.active = bool(fits)
        row.template_icon(icon_value=picture(answer, number), scale=_PICTURE_SCALE)
        cell = row.column()
        cell.scale_y = _PICTURE_SCALE
        words = f"{answer.scores[number]:.0%}, {answer.counts[number]:,} Gaussians"
        chosen = number == searches.chosen
        cell.operator("saga.text_candidate", text=words, depress=chosen).index = number


def picture(answer: Candidates, number: int) -> int:
    """Icon ID of a candidate's picture, which is created on the first draw."""
    if _pictures is None:
        return 0
    name = f"{searches.texts}:{number}"
    if name not in _pictures:
        preview = _pictures.new(name)
        pixels = answer.thumbnails[number]
        preview.image_size = (pixels.shape[1], pixels.shape[0])
        opaque = np.full((*pixels.shape[:2], 4), 255, np.uint8)
        opaque[..., :3] = pixels
        preview.image_pixels_float = (
            opaque[::-1].astype(np.float32) / 255
        ).ravel()  # Blender's first row is the bottom one
    return int(_pictures[name].icon_id)


def start() -> None:
    """Create the collection of pictures."""
    global _pictures
    _pictures = bpy.utils.previews.new()


def stop() -> None:
    """Undo `start`."""
    global _pictures
    if _pictures is not None:
        bpy.utils.previews.remove(_pictures)
    _pictures = None


CLASSES = (SAGA_PT_text,)
