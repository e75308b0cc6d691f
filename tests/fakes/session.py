"""A session without torch; what it does depends on the name of the scene."""

from __future__ import annotations

import threading

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import (
    BackendState,
    Candidates,
    Click,
    Cluster,
    Clusters,
    Color,
    Colors,
    Done,
    FetchModel,
    FetchWeights,
    FindText,
    InstantClick,
    LookAhead,
    ModelFile,
    Names,
    NameSegments,
    OpenModel,
    Recolor,
    Recolored,
    SceneState,
    Selection,
    Status,
    Train,
    Trained,
    Weights,
)
from saga_backend.common.device import Device
from saga_backend.common.progress import Control
from tests.fakes.models import saga_file
from tests.fakes.stand_in import StandIn

ENDLESS = ("forever", "until click")


class FakeSession(StandIn):
    """Trains nothing, selects the first Gaussian.

    Scene "forever" trains until it is cancelled, "until click" until somebody clicks, any other for as many steps as
    the settings say; these two have a model from the first. Scene "bug" fails with a bug when clicked, "wrong" answers
    with what is no message, "refuses models" opens none.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self._clicked = threading.Event()
        self.opened: list[bytes] = []
        self.describes = False

    def open_model(self, request: OpenModel) -> SceneState:
        if request.scene == "refuses models":
            raise UserError(f"{request.name} is the model of another cloud", code=ErrorCode.OTHER_CLOUD)
        state = super().open_model(request)
        self.opened.append(request.data.tobytes())
        return state

    def trained(self, scene: str) -> int:
        return 1 if scene in ENDLESS and scene in self.scenes else super().trained(scene)

    def fetch_model(self, request: FetchModel) -> ModelFile:
        self.trained(request.scene)
        return ModelFile(request.scene, np.frombuffer(saga_file(request.scene), np.uint8))

    def train(self, request: Train, control: Control) -> Trained:
        self.known(request.scene)
        endless = request.scene in ENDLESS
        step = 0
        while endless or step < request.settings.steps:
            step += 1
            control.progress("training", step, request.settings.steps)
            if endless and self._clicked.wait(0.002) and request.scene == "until click":
                break
        self._steps[request.scene] = step
        return Trained(request.scene, step, 1, 1, 1.0)

    def click(self, request: Click) -> Selection:
        if request.scene == "bug":
            raise KeyError("a bug")
        if request.scene == "wrong":
            return "not a message"
        count = len(self.known(request.scene))
        self._clicked.set()
        self.check_click(request)
        mask = np.zeros(count, bool)
        mask[:1] = True
        return Selection(np.packbits(mask), 1, count, 0.5, 1.0, 0.75)

    def instant_click(self, request: InstantClick, control: Control) -> Selection:
        control.progress("looking", 0, 1)
        return self.click(request)

    def look_ahead(self, request: LookAhead, control: Control) -> Done:
        self.check_weights(request)
        return Done()

    def fetch_weights(self, request: FetchWeights, control: Control) -> Weights:
        control.progress("downloading", 1, 2)
        return Weights(f"{request.folder}/{request.kind}.pth")

    def cluster(self, request: Cluster, control: Control) -> Clusters:
        count, step = len(self.known(request.scene)), 0
        self.trained(request.scene)
        while request.scene in ENDLESS and not self._clicked.wait(0.002):
            step += 1
            control.progress("clustering", step, 0)
        none = np.zeros(0, np.int32)
        return Clusters(request.scene, np.full(count, -1, np.int32), none, none, none, none, none, "a fake")

    def find_text(self, request: FindText, control: Control) -> Candidates:
        self.trained(request.scene)
        self.check_weights(request)
        bits = np.packbits(np.arange(len(self.known(request.scene))) == 0)[None]
        one, picture = np.ones(1, np.int32), np.zeros((1, 4, 4, 3), np.uint8)
        scores = np.ones(1, np.float32)
        return Candidates(request.scene, request.text, "votes", bits, one, scores, 1, picture, described=self.describes)

    def name_segments(self, request: NameSegments, control: Control) -> Names:
        self.trained(request.scene)
        self.check_weights(request)
        return Names(request.scene, (), np.zeros(0, np.float32))

    def recolor(self, request: Recolor, control: Control) -> Recolored:
        self.check_weights(request)
        control.progress("recoloring", 0, 1)
        return Recolored(np.zeros((len(request.cloud), 3), np.float32))

    def color(self, request: Color) -> Colors:
        self.trained(request.scene)
        return Colors(request.scene, np.zeros((len(self.known(request.scene)), 3), np.uint8))

    def status(self, request: Status) -> BackendState:
        return BackendState(512, 4096, "a fake")


def open_session(wanted: str) -> tuple[Device, FakeSession]:
    """As `saga_backend.serving.server.open_session`; "cuda" is what this machine has not."""
    if wanted == "cuda":
        raise UserError(
            "CUDA cannot be used", "there is no GPU", "Choose the device auto or cpu", code=ErrorCode.DEVICE
        )
    return Device("cpu", "a fake"), FakeSession("cpu")
