"""Save a trained model to a chosen file."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..scene.requests import save_model
from ..scene.requests.lookup import find_splat
from ..scene.state.launch import ensure_started
from ..scene.state.paths import absolute, model_path
from ..scene.state.status import status
from .reporting import Result, reported

_ONCE = {"SKIP_SAVE"}


class SAGA_OT_save_model(bpy.types.Operator):
    """Save the trained model to a file, which the splat then uses"""

    bl_idname = "saga.save_model"
    bl_label = "Save Model"
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    filepath: StringProperty(
        name="File", description="Model file; next to the .blend if empty", subtype="FILE_PATH", options=_ONCE
    )
    filter_glob: StringProperty(default="*.saga", options={"HIDDEN"})
    object: StringProperty(name="Object", description="Name of the object; the active object if empty", options=_ONCE)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Open the file dialog with the default name."""
        return self._choose(context)

    @reported
    def _choose(self, context: bpy.types.Context) -> Result:
        obj = find_splat(context, self.object)
        self.filepath = self.filepath or str(model_path(obj, obj.saga.fingerprint))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Write the model file."""
        obj = find_splat(context, self.object)
        ensure_started()
        given = Path(absolute(self.filepath)) if self.filepath else model_path(obj, obj.saga.fingerprint)
        path = given if given.suffix == ".saga" else given.with_name(f"{given.name}.saga")
        save_model.save(obj, path)
        status.tell(f"The model was saved as {path}")
        self.report({"INFO"}, f"Saved {path}")
        return {"FINISHED"}


CLASSES = (SAGA_OT_save_model,)
