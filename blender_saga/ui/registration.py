"""What Blender is told of when the extension is enabled: in this order, and back in the reverse order."""

from __future__ import annotations

import bpy

from ..scene import changes, live, native, properties, pump, recolouring, rendering, saving
from ..scene.journal import journal
from ..scene.session import session
from . import (
    ahead,
    backend_ops,
    box,
    edit_ops,
    export_ops,
    import_ops,
    model_ops,
    panels,
    preferences,
    recolour_ops,
    recolour_panel,
    refine_ops,
    report_ops,
    select_ops,
    select_panels,
    splat_draw,
    text_ops,
    text_panel,
    thing_ops,
    thing_panel,
    tool,
    train_ops,
    train_panel,
    transform_ops,
    weights_ops,
)

_MODULES = (
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
_MODULES += (transform_ops, thing_ops, text_ops, recolour_ops, report_ops)
_MODULES += (panels, train_panel, select_panels, text_panel, thing_panel, recolour_panel)
CLASSES = (*properties.CLASSES, *(cls for module in _MODULES for cls in module.CLASSES))


def register() -> None:
    """Register everything; an error is a bug and is not hidden."""
    journal.start()
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    properties.attach()
    import_ops.add_menu()
    export_ops.add_menu()
    transform_ops.add_menu()
    report_ops.add_menu()
    native.start()
    rendering.start()
    tool.register()
    changes.start()
    live.start()
    recolouring.start()
    saving.start()
    splat_draw.start()
    text_panel.start()
    ahead.start()
    pump.start()


def unregister() -> None:
    """Undo `register`, and end the backend."""
    pump.stop()
    session.close()
    ahead.stop()
    text_panel.stop()
    splat_draw.stop()
    saving.stop()
    recolouring.stop()
    live.stop()
    changes.stop()
    tool.unregister()
    rendering.stop()
    native.stop()
    report_ops.remove_menu()
    transform_ops.remove_menu()
    export_ops.remove_menu()
    import_ops.remove_menu()
    properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
    journal.stop()
