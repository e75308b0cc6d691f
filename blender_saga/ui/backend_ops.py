"""Install, start and stop the backend; cancel running tasks."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty

from ..client.install.installation import Installation, prepare
from ..errors import ErrorCode, UserError
from ..scene.state import session
from ..scene.state.downloads import downloads
from ..scene.state.launch import backend_launch, environment, launch_with
from ..scene.state.link import link
from .operator_base import wait_property
from .reporting import Result, reported

_START_SECONDS = 180.0  # the first start on a cold disk loads gigabytes of libraries


class SAGA_OT_backend_install(bpy.types.Operator):
    """Install the backend's packages (about 7 GB) in the backend folder; an older installation works until then"""

    bl_idname = "saga.backend_install"
    bl_label = "Install Backend"

    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Run in the background when called by a button."""
        self.wait = bpy.app.background
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Start the installation; wait for its end if `wait` is set."""
        if downloads.installing:
            raise UserError(
                "The installation is already running", fix="Wait until it ends, or cancel it", code=ErrorCode.BUSY
            )
        if not bpy.app.online_access:
            fix = "Enable Allow Online Access in Preferences > System > Network"
            raise UserError("The backend cannot be installed", "online access is disabled", fix, code=ErrorCode.OFFLINE)
        installed, trial = environment(), lambda python: prepare(launch_with(python))
        installation = downloads.install(
            Installation(lambda report, cancelled: installed.install(report, cancelled, trial))
        )
        if self.wait:
            installation.wait()
            self.report({"INFO"}, "The backend is installed")
        return {"FINISHED"}


class SAGA_OT_backend_start(bpy.types.Operator):
    """Start the backend process, or connect to the backend on another machine"""

    bl_idname = "saga.backend_start"
    bl_label = "Start Backend"

    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Start in the background when called by a button."""
        self.wait = bpy.app.background
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Start the backend; wait until it answers if `wait` is set."""
        backend = link.start(backend_launch())
        if self.wait:
            welcome = backend.wait_connected(_START_SECONDS)
            where = f"Connected to {welcome.machine}: " if welcome.machine else ""
            self.report({"INFO"}, where + (welcome.note or f"The backend runs on {welcome.device}"))
        return {"FINISHED"}


class SAGA_OT_backend_stop(bpy.types.Operator):
    """Stop the backend process and free its memory; a backend on another machine is only disconnected"""

    bl_idname = "saga.backend_stop"
    bl_label = "Stop Backend"

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Stop the backend, which takes two seconds at most."""
        link.stop()
        return {"FINISHED"}


class SAGA_OT_cancel(bpy.types.Operator):
    """Cancel a running training, search, download or installation, without changing the scene"""

    bl_idname = "saga.cancel"
    bl_label = "Cancel"

    what: EnumProperty(
        name="Task",
        items=(
            ("ANY", "Any", "Cancel any running task, the training first"),
            ("TRAINING", "Training", "Cancel the training only"),
            ("SEARCH", "Search", "Cancel the search for objects, text or colors only"),
        ),
        options={"SKIP_SAVE"},
    )

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Request the cancellation; the task ends at its next step."""
        session.cancel(self.what)
        return {"FINISHED"}


CLASSES = (SAGA_OT_backend_install, SAGA_OT_backend_start, SAGA_OT_backend_stop, SAGA_OT_cancel)
