"""What every stand-in for the session refuses, by the codes of the real one (tests/backend/serving/test_fakes.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import (
    Click,
    Done,
    FindText,
    InstantClick,
    LoadScene,
    LookAhead,
    NameSegments,
    OpenModel,
    Recolor,
    SceneState,
    Unload,
)
from tests.fakes.models import facts_of


class StandIn:
    """Knows scenes, and for how many steps and to how many levels of granularity each was trained."""

    def __init__(self) -> None:
        self._means: dict[str, np.ndarray] = {}
        self._steps: dict[str, int] = {}
        self._levels: dict[str, int] = {}

    def load_scene(self, request: LoadScene) -> SceneState:
        count = request.count or len(request.cloud)
        means = np.full((count, 3), np.nan)
        means[request.ids if len(request.ids) else np.arange(count)] = request.cloud.means
        self._means[request.scene], note = means, ""
        if request.model_file and Path(request.model_file).is_file():
            header = facts_of(Path(request.model_file).read_bytes())
            if header["fingerprint"] == request.scene:
                self._steps[request.scene], self._levels[request.scene] = header["steps"], header["levels"]
            else:
                note = f"The model {Path(request.model_file).name} belongs to another cloud"
        levels = self._levels.get(request.scene, 0)
        return SceneState(request.scene, count, self._steps.get(request.scene, 0), note, levels)

    def open_model(self, request: OpenModel) -> SceneState:
        count = len(self.known(request.scene))
        header = facts_of(request.data.tobytes())
        if header["fingerprint"] != request.scene:
            raise UserError(f"{request.name} is the model of another cloud", code=ErrorCode.OTHER_CLOUD)
        self._steps[request.scene], self._levels[request.scene] = header["steps"], header["levels"]
        return SceneState(request.scene, count, header["steps"], "", header["levels"])

    def unload(self, request: Unload) -> Done:
        self._means.pop(request.scene, None)
        self._steps.pop(request.scene, None)
        return Done()

    @property
    def scenes(self) -> set[str]:
        """Names of the loaded ones."""
        return set(self._means)

    def known(self, scene: str) -> np.ndarray:
        """[N,3] centers of a loaded scene."""
        if scene not in self._means:
            raise UserError("The backend does not know this splat", fix="Load it first", code=ErrorCode.NO_SCENE)
        return self._means[scene]

    def trained(self, scene: str) -> int:
        """Steps of a scene's model."""
        self.known(scene)
        if scene not in self._steps:
            raise UserError("This splat is not trained yet", fix="Press Train Affinity first", code=ErrorCode.NO_MODEL)
        return self._steps[scene]

    def check_click(self, request: Click) -> None:
        """Refuse a click whose options cannot be used."""
        self.known(request.scene)
        if isinstance(request, InstantClick):
            self.check_weights(request.options)
        else:
            self.trained(request.scene)
        if not request.options.scale <= 1:
            raise UserError("The scale is too large", fix="Use a number from 0 to 1", code=ErrorCode.BAD_SETTINGS)

    def check_weights(self, owner: LookAhead | FindText | NameSegments | Recolor | object) -> None:
        """Refuse what has no weights."""
        if not owner.weights:  # type: ignore[union-attr]
            raise UserError("There are no weights", fix="Choose a file", code=ErrorCode.BAD_WEIGHTS)
