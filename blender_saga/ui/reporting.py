"""Error reports of operators: one report per failure, and no traceback for an error that a user can cause."""

from __future__ import annotations

import functools
from collections.abc import Callable

import bpy

from ..errors import Cancelled, UserError
from ..scene.state.log import journal, logger

Result = set[str]


def reported(method: Callable[..., Result]) -> Callable[..., Result]:
    """Decorate `execute`, or a method that `invoke` calls: a UserError becomes an error report and {"CANCELLED"}.

    For a call from Python (`bpy.ops.saga...`), Blender turns the report into a RuntimeError with the same sentence.
    Do not decorate `invoke` itself: Blender checks the number of its arguments.
    """

    @functools.wraps(method)
    def wrapper(self: bpy.types.Operator, context: bpy.types.Context, *event: bpy.types.Event) -> Result:
        who = type(self).__name__.replace("_OT_", ".").lower()  # as in a script: saga.train
        journal.remember_texts(self.properties)
        journal.remember_texts(bpy.context.scene.saga)
        try:
            result = method(self, context, *event)
        except UserError as error:
            journal.failed(who, error.sentence())
            self.report({"ERROR"}, error.sentence())
        except Cancelled:
            logger.info("%s: cancelled", who)
            self.report({"INFO"}, "Cancelled; nothing was changed")
        except Exception:
            logger.exception("%s has failed", who)
            raise
        else:
            if result != {"PASS_THROUGH"}:
                logger.info("%s: %s", who, ", ".join(sorted(result)).lower())
            return result
        return {"CANCELLED"}

    return wrapper
