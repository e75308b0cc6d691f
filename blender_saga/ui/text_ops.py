"""Find things by words: the search, choosing among its candidates, names for the things that were found."""

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
    ("AUTO", "Automatic", "By votes where features were trained, else by clusters"),
    ("VOTES", "Votes", "What each mask of each view shows is compared with the text (SAGA)"),
    ("CLUSTERS", "Clusters", "Each thing is drawn alone from ten sides (Click-Gaussian)"),
)


class SAGA_OT_find_text(Asking, bpy.types.Operator):
    """Select what a text means. The first text of a splat has all of it described by CLIP, which takes a while"""

    bl_idname = "saga.find_text"
    bl_label = "Find by Words"

    text: StringProperty(name="Text", description="What is looked for: red chair", options=_ONCE)
    object: StringProperty(name="Object", description="Empty: the active object", options=_ONCE)
    way: EnumProperty(name="Way", items=WAYS, options=_ONCE)
    limit: IntProperty(name="Candidates", description="At most", min=1, max=100, default=8, options=_ONCE)
    weights: StringProperty(
        name="CLIP", description="File of its weights; empty: that of the preferences", options=_ONCE
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The button takes the text from the sidebar."""
        self.text = self.text or context.scene.saga.text
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Ask the backend; the best candidate is selected when it answers."""
        obj = find_splat(context, self.object)
        if not self.text.strip():
            raise UserError("There is no text to look for", fix="Type what the thing is, for example: red chair")
        asked = segments.ask(
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
        return self._run(asked, lambda: None)


class SAGA_OT_text_candidate(Combining, bpy.types.Operator):
    """Select this candidate. Shift adds it, Ctrl takes it away"""

    bl_idname = "saga.text_candidate"
    bl_label = "Select Candidate"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    index: IntProperty(name="Candidate", description="Its number, the best is 0", options=_ONCE)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """In all visible objects that share the model."""
        texts.select(context, find_splat(context, ""), self.index, self.mode.lower())
        return {"FINISHED"}


class SAGA_OT_name_segments(Asking, bpy.types.Operator):
    """Name the things that were found by the word of a list that fits each best; names you gave stay"""

    bl_idname = "saga.name_segments"
    bl_label = "Name Segments"

    words: StringProperty(name="Words", description="With commas between them: chair, table, lamp", options=_ONCE)
    object: StringProperty(name="Object", description="Empty: the active object", options=_ONCE)
    weights: StringProperty(
        name="CLIP", description="File of its weights; empty: that of the preferences", options=_ONCE
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The button takes the words from the sidebar."""
        self.words = self.words or context.scene.saga.words
        return super().invoke(context, event)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Ask the backend."""
        obj = find_splat(context, self.object)
        words = tuple(word.strip() for word in self.words.split(",") if word.strip())
        if not words:
            raise UserError("There are no words to choose names from", fix="Type some, with commas between them")
        if not len(obj.saga.segments):
            raise UserError(
                f"The things of {obj.name} are not known", fix="Press Segment Scene first", code=ErrorCode.NO_CLUSTERS
            )
        message = NameSegments(obj.saga.fingerprint, words, clip_weights(self.weights), trained_model(obj))
        return self._run(segments.ask(obj, message), lambda: None)


CLASSES = (SAGA_OT_find_text, SAGA_OT_text_candidate, SAGA_OT_name_segments)
