"""Download the weights of Segment Anything and CLIP after a confirmation, and store their path in the preferences."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty

from ..errors import Cancelled, ErrorCode, UserError
from ..scene.requests.location import elsewhere, machine
from ..scene.requests.weights import weights_property
from ..scene.state.downloads import downloads
from ..scene.state.launch import ensure_started, preferences
from ..scene.state.link import link
from ..scene.state.request import SceneRequest
from ..scene.state.status import status
from ..wire.messages import FetchWeights, Weights
from .operator_base import wait_property
from .reporting import Result, reported

KINDS = (
    ("vit_b", "SAM ViT-B, 375 MB", "The smallest and fastest"),
    ("vit_l", "SAM ViT-L, 1.2 GB", "Better and slower"),
    ("vit_h", "SAM ViT-H, 2.6 GB", "The best, used by the authors; slow without a GPU"),
    ("ViT-B-16", "CLIP ViT-B-16, 600 MB", "Find objects by text"),
)
_SOURCES = {"SAM": "dl.fbaipublicfiles.com (Meta)", "CLIP": "github.com/mlfoundations/open_clip"}


def _family(kind: str) -> str:
    return "CLIP" if kind == "ViT-B-16" else "SAM"


class SAGA_OT_fetch_weights(bpy.types.Operator):
    """Download official weights to the backend's machine and verify their checksum"""

    bl_idname = "saga.fetch_weights"
    bl_label = "Download Weights"

    kind: EnumProperty(name="File", items=KINDS, options={"SKIP_SAVE"})
    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Ask for confirmation, with the size and the source."""
        self.wait = bpy.app.background
        return context.window_manager.invoke_props_dialog(self, width=400, confirm_text="Download")

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the dialog."""
        self.layout.prop(self, "kind")
        self.layout.label(text=f"From {_SOURCES[_family(self.kind)]}, to the user's cache folder")

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Start the download; wait for its end if `wait` is set."""
        if downloads.fetching:
            raise UserError(
                "A download is already running", fix="Wait until it ends, or cancel it", code=ErrorCode.BUSY
            )
        if not bpy.app.online_access:
            fix = "Enable Allow Online Access in Preferences > System > Network"
            raise UserError(
                "The weights cannot be downloaded", "online access is disabled", fix, code=ErrorCode.OFFLINE
            )
        ensure_started()
        request, family = downloads.fetch(link.request(None, FetchWeights(self.kind))), _family(self.kind)
        if not self.wait:
            request.on_end = lambda _: _finish(request, family)
            return {"FINISHED"}
        request.wait()
        self.report({"INFO"}, _record(request, family))
        return {"FINISHED"}


def _record(request: SceneRequest, family: str) -> str:
    """Store the path in the preferences. Returns the message to show."""
    answer = request.outcome()
    assert isinstance(answer, Weights)
    setattr(preferences(), weights_property(family), answer.path)
    return f"The weights are at {answer.path}" + (f" on {machine()}" if elsewhere() else "")


def _finish(request: SceneRequest, family: str) -> None:
    try:
        status.tell(_record(request, family))
    except UserError as error:
        status.tell(error.sentence(), failed=True)
    except Cancelled:
        status.tell("Download cancelled; the next one continues it")


CLASSES = (SAGA_OT_fetch_weights,)
