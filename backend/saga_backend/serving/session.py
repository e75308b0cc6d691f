"""The scenes of the backend, their models, and the answers to requests. Several threads may call it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
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
    LoadScene,
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
    Unload,
    Weights,
)

from ..common import user_dirs
from ..common.progress import Control
from ..common.validation import (
    check_click,
    check_cloud,
    check_objects,
    check_scene,
    check_shape,
    check_share,
    check_view,
)
from ..methods.checkpoint import Checkpoint
from ..model import saga_file
from ..model.clustering import divide
from ..model.feature_colors import colors_of
from ..model.scene_model import SceneModel
from ..selection import click as query
from ..selection.answer import SelectionResult, build_answer, merge_answers
from ..selection.cleanup import Neighborhood, neighborhood
from ..selection.instant.service import InstantSelector, SceneSnapshot, snapshot_of, unsure
from ..text import answers
from ..training.sources import prepare_inputs, request_key
from ..training.train import Sources, check_settings, train
from . import model_transfer
from .memory import backend_state
from .weights import fetch_weights

_BLENDER_UP = (0.0, 0.0, 1.0)
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Scene:
    """A loaded scene. `cloud` has a row for every id; deleted Gaussians are transparent."""

    cloud: GaussianCloud
    model: SceneModel | None = None
    header: saga_file.Header = field(default_factory=lambda: saga_file.Header(""))
    training: bool = False
    clusters: tuple[SceneModel, Cluster, Clusters] | None = None
    text_indices: answers.TextIndices = field(default_factory=answers.TextIndices)
    _near: tuple[GaussianCloud, Neighborhood] | None = None

    def near(self) -> Neighborhood:
        """The touching neighbors. The first call finds them, which takes seconds for a million Gaussians."""
        cloud = self.cloud
        if self._near is None or self._near[0] is not cloud:
            self._near = cloud, neighborhood(cloud)
        return self._near[1]


class Session:
    """Answers requests about scenes.

    Args:
        device: "cpu" or "cuda".
        prepare: is called before each training, to compile code that this machine has not compiled yet.
    """

    def __init__(self, device: str = "cpu", prepare: Callable[[Control], None] | None = None) -> None:
        self.device = device
        self._prepare = prepare
        self._instant = InstantSelector(device)
        self._scenes: dict[str, _Scene] = {}
        self._lock = threading.Lock()

    def load_scene(self, request: LoadScene) -> SceneState:
        """Load a cloud, and its model if the model file exists."""
        check_scene(request)
        cloud = _whole_cloud(request)
        model, note = None, ""
        if request.model_file and Path(request.model_file).is_file():
            try:
                model, header = _load_model(request, len(cloud))
            except UserError as error:  # the scene is usable without a model; the note says why it has none
                note = error.sentence()
        with self._lock:
            scene = self._scenes.get(request.scene)
            if scene is None or len(scene.cloud) != len(cloud):
                scene = self._scenes[request.scene] = _Scene(cloud)
            scene.cloud = cloud  # in place, because a running training keeps its scene
            if model is not None:
                scene.text_indices.open(request.model_file, model)
                scene.header = header
            scene.model = model = model or scene.model
        return _scene_state(request.scene, scene, note)

    def open_model(self, request: OpenModel) -> SceneState:
        """Open the model of a loaded scene from the bytes of its file."""
        scene = self._scene(request.scene)
        scene.model, scene.header, scene.text_indices = model_transfer.open_model(request, len(scene.cloud))
        return _scene_state(request.scene, scene)

    def fetch_model(self, request: FetchModel) -> ModelFile:
        """Send the model of a scene as the bytes of a file."""
        scene, _, model = self._trained_scene(request.scene)
        if scene.training:
            raise UserError("This scene is being trained", fix="Wait for its end", code=ErrorCode.BUSY)
        return model_transfer.make_model_file(request.scene, model, scene.header, scene.text_indices)

    def train(self, request: Train, control: Control) -> Trained:
        """Train a scene. The previous model answers clicks until the first snapshot. It stays if the training fails."""
        scene = self._scene(request.scene)
        previous = scene.model

        def publish(model: SceneModel) -> None:
            scene.model = model

        check_settings(request.settings)
        header = saga_file.Header(request.scene, settings=json.dumps(asdict(request.settings)))
        request, folder = _resolve_paths(request)
        if request.model_file:
            saga_file.check_writable(request.model_file)
        scene.training = True
        try:
            if self._prepare is not None:
                self._prepare(control)
            inputs = prepare_inputs(request.sources, scene.cloud, request.settings, control, self.device)
            checkpoint = Checkpoint(folder, request_key(request))
            sources = Sources(inputs.views, inputs.masks, _BLENDER_UP, publish, self.device, checkpoint)
            result = train(scene.cloud, request.settings, control, sources)
            unsaved = _try_save(request.model_file, result.model, header)
            if not unsaved:
                checkpoint.remove()
        except BaseException:
            scene.model = previous
            raise
        finally:
            scene.training = False
        scene.model, scene.header = result.model, header
        return Trained(
            request.scene, result.model.steps, result.masks, len(result.views), min(inputs.coverage, result.coverage),
            tuple(result.phases), tuple(result.phases.values()), "" if unsaved else request.model_file,
            (*inputs.notes, *checkpoint.notes),
            result.model.granularity, unsaved,
        )  # fmt: skip

    def click(self, request: Click) -> Selection:
        """Select the segment at the clicked pixels of the queried objects."""
        scene, cloud, model = self._trained_scene(request.scene)
        check_click(request, len(cloud))
        options = request.options
        query_objects = query.query_objects(cloud, request.objects)
        resolved = query.resolve_click(request, query_objects, model.describe)
        parts = query.interpretations(query_objects, resolved)
        answer = None
        if options.method == "auto" and options.weights and options.threshold < 0 and unsure(model, resolved):
            answer = self._instant.if_encoded(request, SceneSnapshot(request.scene, cloud, model, query_objects))
        found = [
            SelectionResult(query_objects, a, answer or model.select(a.rows, a.positive, options), scope)
            for a, scope in parts
        ]
        return merge_answers([build_answer(request, each, scene.near) for each in found])

    def instant_click(self, request: InstantClick, control: Control) -> Selection:
        """Select by the masks of Segment Anything for the prompts. The scene needs no model."""
        scene = self._scene(request.scene)
        check_click(request, len(scene.cloud))
        for prompt in request.prompts:
            check_shape(prompt.view)
        snapshot = snapshot_of(request.scene, scene.cloud, scene.model, request.objects)
        answer = self._instant.click(request, snapshot, control)
        resolved = query.resolve_click(request, snapshot.query_objects, lambda rows: rows.blend(scene.cloud.means))
        parts = query.interpretations(snapshot.query_objects, resolved)
        found = [SelectionResult(snapshot.query_objects, a, answer, scope) for a, scope in parts]
        return merge_answers([build_answer(request, each, scene.near) for each in found])

    def look_ahead(self, request: LookAhead, control: Control) -> Done:
        """Encode a view for instant clicks."""
        scene = self._scene(request.scene)
        check_view(request.view)
        check_shape(request.view)
        check_objects(request.objects, len(scene.cloud))
        return self._instant.ahead(request, snapshot_of(request.scene, scene.cloud, None, request.objects), control)

    def fetch_weights(self, request: FetchWeights, control: Control) -> Weights:
        """Download weights of Segment Anything."""
        return fetch_weights(request, control)

    def cluster(self, request: Cluster, control: Control) -> Clusters:
        """Divide the scene into objects and parts. The last answer is cached until the model changes."""
        scene, cloud, model = self._trained_scene(request.scene)
        if scene.clusters is not None:
            clustered_model, previous, answer = scene.clusters
            if clustered_model is model and len(answer.labels) == len(cloud) and _same_request(previous, request):
                return answer
        answer = divide(request, cloud, model, control)
        scene.clusters = model, request, answer
        return answer

    def color(self, request: Color) -> Colors:
        """Color the features by their principal components."""
        features = self._trained_scene(request.scene)[2].trained_features()
        check_share(request.scale)
        gate = None if request.scale < 0 else features.scale_gate(request.scale)
        return Colors(request.scene, colors_of(features.features, gate))

    def find_text(self, request: FindText, control: Control) -> Candidates:
        """Find the Gaussians for a text. The first search of a scene builds its index."""
        return answers.find_text(request, self._text_scene(request.scene, control), control)

    def name_segments(self, request: NameSegments, control: Control) -> Names:
        """Name every node of the latest segment tree."""
        return answers.name_segments(request, self._text_scene(request.scene, control), control)

    def recolor(self, request: Recolor, control: Control) -> Recolored:
        """Find the new colors for a text. The cloud comes with the request; a training may run meanwhile."""
        check_cloud(request.cloud)
        return answers.answer_recolor(request, self.device, control)

    def _text_scene(self, name: str, control: Control) -> answers.TextScene:
        scene, cloud, model = self._trained_scene(name)
        if scene.training:
            fix = "Wait for its end; clicks work meanwhile"
            raise UserError("This scene is being trained", "its training changes the text index", fix, ErrorCode.BUSY)

        def tree() -> Clusters:  # the latest one with any settings, else one with the defaults
            last = scene.clusters
            if last is not None and last[0] is model and len(last[2].labels) == len(cloud):
                return last[2]
            return self.cluster(Cluster(name), control)

        return answers.TextScene(cloud, model, scene.text_indices, self.device, _BLENDER_UP, tree)

    def unload(self, request: Unload) -> Done:
        """Remove a scene from memory."""
        with self._lock:
            self._scenes.pop(request.scene, None)
        return Done()

    def status(self, request: Status) -> BackendState:
        """Report the memory use of this process."""
        return backend_state(self.device)

    def _trained_scene(self, name: str) -> tuple[_Scene, GaussianCloud, SceneModel]:
        """A scene with its current cloud and model. Training and loading can replace both at any time."""
        scene = self._scene(name)
        cloud, model = scene.cloud, scene.model
        if model is None:
            fix = "Its training has just begun; click again soon" if scene.training else "Press Train Affinity first"
            raise UserError("This scene has no trained model yet", fix=fix, code=ErrorCode.NO_MODEL)
        return scene, cloud, model

    def _scene(self, name: str) -> _Scene:
        with self._lock:
            scene = self._scenes.get(name)
        if scene is None:
            fix = "Click again; the scene will be sent again"
            raise UserError("The backend does not have this scene", fix=fix, code=ErrorCode.NO_SCENE)
        return scene


def _try_save(path: str, model: SceneModel, header: saga_file.Header) -> str:
    """Save a model if the path is not empty. On failure the model stays in memory; returns the reason, else ""."""
    try:
        if path:
            saga_file.save(path, model, header)
    except UserError as error:
        _log.warning("%s", error)
        return error.sentence()
    return ""


def _same_request(a: Cluster, b: Cluster) -> bool:
    return np.array_equal(a.scales, b.scales) and a.smallest == b.smallest


def _scene_state(name: str, scene: _Scene, note: str = "") -> SceneState:
    model = scene.model
    return SceneState(name, len(scene.cloud), model.steps if model else 0, note, model.granularity if model else 0)


def _resolve_paths(request: Train) -> tuple[Train, Path]:
    """The request with a folder for the masks of SAM, and the path for the checkpoints.

    Checkpoints are beside the model file, or in the user's cache if the model has no file on this machine.
    """
    sources = request.sources
    if sources.masks == "sam" and not sources.masks_folder:
        sources = replace(sources, masks_folder=str(user_dirs.scene_folder("masks", request.scene)))
    path = Path(request.model_file) if request.model_file else user_dirs.scene_folder("trainings", request.scene)
    return replace(request, sources=sources), path


def _load_model(request: LoadScene, count: int) -> tuple[SceneModel, saga_file.Header]:
    model, header = saga_file.load(request.model_file, request.scene)
    model_transfer.require_count(header, count, Path(request.model_file).name)
    return model, header


def _whole_cloud(request: LoadScene) -> GaussianCloud:
    """The cloud with a row for every id. Gaussians that the client has deleted are transparent."""
    cloud, count = request.cloud, request.count or len(request.cloud)
    if not len(request.ids):
        return cloud
    if len(request.ids) != len(cloud) or request.ids.min() < 0 or request.ids.max() >= count:
        raise UserError(
            "The scene cannot be loaded", "its ids do not match its points", fix=REPORT, code=ErrorCode.BAD_SCENE
        )
    rows = np.zeros(count, np.int64)
    rows[request.ids] = np.arange(len(cloud))
    whole = cloud.take(rows)
    present = np.zeros(count, bool)
    present[request.ids] = True
    return GaussianCloud(whole.means, whole.quats, whole.scales, np.where(present, whole.opacities, 0), whole.sh)
