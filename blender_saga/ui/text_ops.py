"""Find objects by text: search, choose a candidate, and name the segments."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from ..errors import ErrorCode, UserError
from ..scene.requests import segments
from ..scene.requests import text as texts
from ..scene.requests.lookup import find_splat, trained_model
from ..scene.requests.weights import clip_weights
from ..wire.messages import FindText, NameSegments
from .operator_base import Asking, Combining
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}
WAYS = (
    ("AUTO", "Automatic", "Use votes if features were trained, otherwise clusters"),
    ("VOTES", "Votes", "Compare the text with the content of each mask in each view (SAGA)"),
    ("CLUSTERS", "Clusters", "Compare the text with renders of each object from ten sides (Click-Gaussian)"),
)


class SAGA_OT_find_text(Asking, bpy.types.Operator):
    """Select the object that a text describes; the first search in a splat takes longer"""

    bl_idname = "saga.find_text"
    bl_label = "Find by Text"

    text: StringProperty(name="Text", description="Text to search for, for example: red chair", options=_ONCE)
    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)
    way: EnumProperty(name="Method", items=WAYS, options=_ONCE)
    limit: IntProperty(
        name="Candidates", description="Largest number of candidates", min=1, max=100, default=8, options=_ONCE
    )
    weights: StringProperty(
        name="CLIP Weights", description="Weights file; the one from the preferences if empty", options=_ONCE
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Take the text from the sidebar when called by a button."""
        self.text = self.text or context.scene.saga.text
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Send the request; select the best candidate when the answer arrives."""
        obj = find_splat(context, self.object)
        if not self.text.strip():
            raise UserError("The text is empty", fix="Enter a description of the object, for example: red chair")
        search = segments.ask(
            obj,
            FindText(
                obj.saga.fingerprint,
                self.text,
                clip_weights(self.weights),
                trained_model(obj),
                self.way.lower(),
                self.limit,
            ),
        )
        return self._run(search, lambda: None)


class SAGA_OT_text_candidate(Combining, bpy.types.Operator):
    """Select this candidate (Shift adds, Ctrl subtracts)"""

    bl_idname = "saga.text_candidate"
    bl_label = "Select Candidate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    index: IntProperty(name="Candidate", description="Number of the candidate, from the best (0)", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Select in all visible objects that share the model."""
        texts.select(context, find_splat(context, ""), self.index, self.mode.lower())
        return {"FINISHED"}


class SAGA_OT_name_segments(Asking, bpy.types.Operator):
    """Name each segment with the best-fitting word of a list, without changing names that you chose"""

    bl_idname = "saga.name_segments"
    bl_label = "Name Segments"

    words: StringProperty(
        name="Words",
        description="Names to choose from, separated by commas, for example: chair, table, lamp",
        options=_ONCE,
    )
    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)
    weights: StringProperty(
        name="CLIP Weights", description="Weights file; the one from the preferences if empty", options=_ONCE
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Take the words from the sidebar when called by a button."""
        self.words = self.words or context.scene.saga.words
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Send the request."""
        obj = find_splat(context, self.object)
        words = tuple(word.strip() for word in self.words.split(",") if word.strip())
        if not words:
            raise UserError(
                "The list of words is empty", fix="Enter words separated by commas, for example: chair, table, lamp"
            )
        if not len(obj.saga.segments):
            raise UserError(
                f"The segments of {obj.name} are not known", fix="Press Segment Scene first", code=ErrorCode.NO_CLUSTERS
            )
        message = NameSegments(obj.saga.fingerprint, words, clip_weights(self.weights), trained_model(obj))
        return self._run(segments.ask(obj, message), lambda: None)


CLASSES = (SAGA_OT_find_text, SAGA_OT_text_candidate, SAGA_OT_name_segments)
