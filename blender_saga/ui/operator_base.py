"""What operators share: a button goes on while a script waits, the keys that are held, the active object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty

from ..errors import Cancelled, UserError
from ..scene.requests import segments
from ..scene.state.properties import MODES
from ..scene.state.session import session
from ..scene.state.undo import push_undo
from .launch import ensure_started
from .reporting import Result, reported

if TYPE_CHECKING:
    _Mixin = bpy.types.Operator  # what each of them is mixed into
else:
    _Mixin = object  # Blender does not want a class that is an operator already


def wait_property() -> object:
    """`wait`: scripts call an operator and get its result; a button never makes the window wait."""
    return BoolProperty(
        name="Wait", description="Return when it has ended", default=True, options={"HIDDEN", "SKIP_SAVE"}
    )


def make_active(context: bpy.types.Context, obj: bpy.types.Object) -> None:
    """Select an object alone and make it the active one."""
    for other in context.selected_objects:
        other.select_set(False)
    obj.select_set(True)  # by itself: an object that was linked just now is not in `view_layer.objects` yet
    context.view_layer.objects.active = obj


class Asking(_Mixin):
    """What requests about a whole scene have in common: the button goes on, a script waits."""

    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """The button: go on in the background."""
        self.wait = bpy.app.background
        return self._start(context)

    @reported
    def _start(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    def _run(self, asked: segments.Asked, done: Callable[[], None]) -> Result:
        """Have the answer written down, and call `done`, when it comes; or wait for it if told to."""
        if not self.wait:
            label = self.bl_label  # the operator itself is gone by then
            asked.request.on_end = lambda _: _finish(asked, label, done)
            return {"FINISHED"}
        asked.request.wait()
        words = segments.record(asked)
        done()
        session.tell(words)
        self.report({"INFO"}, words)
        return {"FINISHED"}


def _finish(asked: segments.Asked, label: str, done: Callable[[], None]) -> None:
    """The end of a request nobody waits for: the panels tell it, and undo learns of the change."""
    try:
        session.tell(segments.record(asked))
    except UserError as error:
        session.tell(error.sentence(), failed=True)
    except Cancelled:
        session.tell("Cancelled; nothing was changed")
    else:
        done()
        push_undo(label)


class Combining(_Mixin):
    """An operator of a list's row that sets, adds or takes away by the keys that are held."""

    mode: EnumProperty(name="Mode", items=MODES, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Shift and Ctrl as in the viewport."""
        self.mode = "ADD" if event.shift else "SUBTRACT" if event.ctrl else "SET"
        return self.execute(context)
