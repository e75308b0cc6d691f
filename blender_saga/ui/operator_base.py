"""Base classes and helpers of operators: waiting for results, modifier keys, the active object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..errors import Cancelled, UserError
from ..scene.requests import segments
from ..scene.state.launch import ensure_started
from ..scene.state.properties import MODES
from ..scene.state.status import status
from ..scene.state.undo import push_undo
from .reporting import Result, reported

if TYPE_CHECKING:

    class _Mixin(bpy.types.Operator):
        """What the mixins extend."""
else:
    _Mixin = object  # Blender rejects a mixin that is an operator itself


def wait_property() -> object:
    """The property `wait`: scripts wait for the result of an operator, buttons never block the window."""
    return BoolProperty(
        name="Wait",
        description="Return only after the operation has ended",
        default=True,
        options={"HIDDEN", "SKIP_SAVE"},
    )


def make_active(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Select only this object and make it active."""
    for other in context.selected_objects:
        other.select_set(False)
    obj.select_set(True)  # directly: a newly linked object is not in `view_layer.objects` yet
    context.view_layer.objects.active = obj


class Asking(_Mixin):
    """Base class of requests about a whole scene: a button returns at once, a script waits."""

    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Run in the background when called by a button."""
        self.wait = bpy.app.background
        return self._start(context)

    @reported
    def _start(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    def _run(self, search: segments.SearchRequest, done: Callable[[], None]) -> Result:
        """Record the answer and call `done` when it arrives; wait for it if `wait` is set."""
        if not self.wait:
            label = self.bl_label  # Blender has freed the operator by then
            search.request.on_end = lambda _: _finish(search, label, done)
            return {"FINISHED"}
        search.request.wait()
        words = segments.record(search)
        done()
        status.tell(words)
        self.report({"INFO"}, words)
        return {"FINISHED"}


def _finish(search: segments.SearchRequest, label: str, done: Callable[[], None]) -> None:
    """End a background request: show the result in the panels and add an undo step."""
    try:
        status.tell(segments.record(search))
    except UserError as error:
        status.tell(error.sentence(), failed=True)
    except Cancelled:
        status.tell("Cancelled; nothing was changed")
    else:
        done()
        push_undo(label)


class Combining(_Mixin):
    """Base class of operators of list rows: Shift adds to the selection, Ctrl subtracts."""

    mode: EnumProperty(name="Mode", items=MODES, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Read Shift and Ctrl, as in the viewport."""
        self.mode = "ADD" if event.shift else "SUBTRACT" if event.ctrl else "SET"
        return self.execute(context)
