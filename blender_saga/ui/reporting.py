"""How operators tell the user: one report for one failure, never a traceback for something a user can cause."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

from ..wire.errors import Cancelled, UserError

Result = set[str]


def reported(method: Callable[..., Result]) -> Callable[..., Result]:
    """Decorate `execute`, or what `invoke` calls: a UserError becomes an error report and {"CANCELLED"}.

    Called from Python (`bpy.ops.saga...`), Blender turns the report into a RuntimeError with the same sentence.
    (Not for `invoke` itself: Blender counts the arguments of the function it is given.)
    """

    @functools.wraps(method)
    def wrapper(self: bpy.types.Operator, context: bpy.types.Context, *event: bpy.types.Event) -> Result:
        try:
            return method(self, context, *event)
        except UserError as error:
            self.report({"ERROR"}, error.sentence())
        except Cancelled:
            self.report({"INFO"}, "Cancelled; nothing was changed")
        return {"CANCELLED"}

    return wrapper
