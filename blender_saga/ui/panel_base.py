"""What all panels share: the tab they stand in, and why something is not possible now."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UserError


def reason(check: Callable[[], object]) -> str:
    """Why something is not possible now, in one sentence; "" if it is."""
    try:
        check()
    except UserError as error:
        return error.sentence()
    return ""


class SagaPanel:
    """What all panels of the tab have in common."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SAGA"
