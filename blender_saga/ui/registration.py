"""Registration of the extension, in this order; unregistration runs in reverse order."""

from __future__ import annotations

from types import ModuleType

import bpy

from ..scene.requests import recolor, requery, save_model
from ..scene.splat import changes, native, render_points
from ..scene.state import properties, session, timer
from ..scene.state.log import journal
from ..viewport import splat_draw
from . import (
    ahead,
    backend_ops,
    backend_panel,
    box,
    edit_ops,
    export_ops,
    import_ops,
    model_ops,
    panels,
    preferences,
    recolor_ops,
    recolor_panel,
    refine_ops,
    report_ops,
    segment_ops,
    segment_panel,
    select_ops,
    select_panels,
    text_ops,
    text_panel,
    tool,
    train_ops,
    train_panel,
    transform_ops,
    weights_ops,
)

_MODULES: tuple[ModuleType, ...] = (
    preferences,
    weights_ops,
    import_ops,
    export_ops,
    backend_ops,
    train_ops,
    model_ops,
    select_ops,
    box,
    refine_ops,
    edit_ops,
)
_MODULES += (transform_ops, segment_ops, text_ops, recolor_ops, report_ops)
_MODULES += (panels, backend_panel, train_panel, select_panels, text_panel, segment_panel, recolor_panel)
CLASSES = (*properties.CLASSES, *(cls for module in _MODULES for cls in module.CLASSES))


def register() -> None:
    """Register everything; errors are bugs and are not hidden."""
    journal.start()
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    properties.attach()
    import_ops.add_menu()
    export_ops.add_menu()
    transform_ops.add_menu()
    report_ops.add_menu()
    native.start()
    render_points.start()
    tool.register()
    changes.start()
    requery.start()
    recolor.start()
    save_model.start()
    splat_draw.start()
    text_panel.start()
    ahead.start()
    timer.start()


def unregister() -> None:
    """Undo `register` and end the backend."""
    timer.stop()
    session.close()
    ahead.stop()
    text_panel.stop()
    splat_draw.stop()
    save_model.stop()
    recolor.stop()
    requery.stop()
    changes.stop()
    tool.unregister()
    render_points.stop()
    native.stop()
    report_ops.remove_menu()
    transform_ops.remove_menu()
    export_ops.remove_menu()
    import_ops.remove_menu()
    properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    journal.stop()
