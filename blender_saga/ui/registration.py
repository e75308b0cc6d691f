"""What Blender is told of when the extension is enabled: in this order, and back in the reverse order."""

from __future__ import annotations

import bpy

from ..scene import changes, native, properties, pump
from ..scene.session import session
from . import backend_ops, export_ops, import_ops, panels, preferences, segment_ops, splat_draw, tool, train_ops, transform_ops

CLASSES = (
    *properties.CLASSES,
    *preferences.CLASSES,
    *import_ops.CLASSES,
    *export_ops.CLASSES,
    *transform_ops.CLASSES,
    *backend_ops.CLASSES,
    *train_ops.CLASSES,
    *segment_ops.CLASSES,
    *panels.CLASSES,
)


def register() -> None:
    """Register everything; an error is a bug and is not hidden."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    properties.attach()
    import_ops.add_menu()
    export_ops.add_menu()
    transform_ops.add_menu()
    native.start()
    tool.register()
    changes.start()
    splat_draw.start()
    pump.start()


def unregister() -> None:
    """Undo `register`, and end the backend."""
    pump.stop()
    session.close()
    splat_draw.stop()
    changes.stop()
    tool.unregister()
    native.stop()
    transform_ops.remove_menu()
    export_ops.remove_menu()
    import_ops.remove_menu()
    properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
