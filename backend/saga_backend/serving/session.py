"""The scenes of the backend, their models, and the answers to messages. Safe to call from several threads."""

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
    """One loaded scene. `cloud` has a row for every id; those that are gone are transparent."""

    cloud: GaussianCloud
    model: SceneModel | None = None
    header: saga_file.Header = field(default_factory=lambda: saga_file.Header(""))
    training: bool = False
    clusters: tuple[SceneModel, Cluster, Clusters] | None = None
    described: answers.TextIndices = field(default_factory=answers.TextIndices)
    _near: tuple[GaussianCloud, Neighborhood] | None = None

    def near(self) -> Neighborhood:
        """The touching neighbors, found on first use: it takes seconds for a million Gaussians."""
        cloud = self.cloud
        if self._near is None or self._near[0] is not cloud:
            self._near = cloud, neighborhood(cloud)
        return self._near[1]


class Session:
    """Everything between a message and its answer.

    Args:
        device: "cpu" or "cuda".
        prepare: called before each training, to compile what was not compiled on this machine yet.
    """

    def __init__(self, device: str = "cpu", prepare: Callable[[Control], None] | None = None) -> None:
        self.device = device
        self._prepare = prepare
        self._instant = InstantSelector(device)
        self._scenes: dict[str, _Scene] = {}
        self._lock = threading.Lock()

    def load_scene(self, request: LoadScene) -> SceneState:
        """Take a cloud in, and its model if its file has one."""
        check_scene(request)
        cloud = _whole_cloud(request)
        model, note = None, ""
        if request.model_file and Path(request.model_file).is_file():
            try:
                model, header = _model_of(request, len(cloud))
            except UserError as error:  # the scene is usable without; the user is told why it has no model
                note = error.sentence()
        with self._lock:
            scene = self._scenes.get(request.scene)
            if scene is None or len(scene.cloud) != len(cloud):
                scene = self._scenes[request.scene] = _Scene(cloud)
            scene.cloud = cloud  # in place: a training that runs keeps its scene
            if model is not None:
                scene.described.open(request.model_file, model)
                scene.header = header
            scene.model = model = model or scene.model
        return _state(request.scene, scene, note)

    def open_model(self, request: OpenModel) -> SceneState:
        """Take in the model of a loaded scene from the bytes of its file."""
        scene = self._scene(request.scene)
        scene.model, scene.header, scene.described = model_transfer.open_model(request, len(scene.cloud))
        return _state(request.scene, scene)

    def fetch_model(self, request: FetchModel) -> ModelFile:
        """The model file of the scene as bytes."""
        scene, _, model = self._trained(request.scene)
        if scene.training:
            raise UserError("This scene is being trained", fix="Wait for its end", code=ErrorCode.BUSY)
        return model_transfer.make_model_file(request.scene, model, scene.header, scene.described)

    def train(self, request: Train, control: Control) -> Trained:
        """Train a scene; its former model answers clicks until the first snapshot and stays if training fails."""
        scene = self._scene(request.scene)
        before = scene.model

        def publish(model: SceneModel) -> None:
            scene.model = model

        check_settings(request.settings)
        header = saga_file.Header(request.scene, settings=json.dumps(asdict(request.settings)))
        request, place = _placed(request)
        if request.model_file:
            saga_file.check_writable(request.model_file)
        scene.training = True
        try:
            if self._prepare is not None:
                self._prepare(control)
            given = prepare_inputs(request.sources, scene.cloud, request.settings, control, self.device)
            checkpoint = Checkpoint(place, request_key(request))
            sources = Sources(given.views, given.masks, _BLENDER_UP, publish, self.device, checkpoint)
            result = train(scene.cloud, request.settings, control, sources)
            unsaved = _saved(request.model_file, result.model, header)
            if not unsaved:
                checkpoint.remove()
        except BaseException:
            scene.model = before
            raise
        finally:
            scene.training = False
        scene.model, scene.header = result.model, header
        return Trained(
            request.scene, result.model.steps, result.masks, len(result.views), min(given.coverage, result.coverage),
            tuple(result.phases), tuple(result.phases.values()), "" if unsaved else request.model_file,
            (*given.notes, *checkpoint.notes),
            result.model.granularity, unsaved,
        )  # fmt: skip

    def click(self, request: Click) -> Selection:
        """Select what is under the pixels of the queried objects."""
        scene, cloud, model = self._trained(request.scene)
        check_click(request, len(cloud))
        options = request.options
        query_objects = query.query_objects(cloud, request.objects)
        resolved = query.resolve_click(request, query_objects, model.look)
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
        """Select what Segment Anything sees under the prompts; the scene needs no model."""
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
        """Divide the scene into objects and parts; the last answer is kept while the scene keeps its model."""
        scene, cloud, model = self._trained(request.scene)
        if scene.clusters is not None:
            of_model, asked, answer = scene.clusters
            if of_model is model and len(answer.labels) == len(cloud) and _same(asked, request):
                return answer
        answer = divide(request, cloud, model, control)
        scene.clusters = model, request, answer
        return answer

    def color(self, request: Color) -> Colors:
        """Color the features by their principal components."""
        features = self._trained(request.scene)[2].trained()
        check_share(request.scale)
        gate = None if request.scale < 0 else features.scale_gate(request.scale)
        return Colors(request.scene, colors_of(features.features, gate))

    def find_text(self, request: FindText, control: Control) -> Candidates:
        """Find the Gaussians for a text; the first search of a scene builds its index."""
        return answers.find_text(request, self._text_scene(request.scene, control), control)

    def name_segments(self, request: NameSegments, control: Control) -> Names:
        """A name for every node of the tree that was made last."""
        return answers.name_segments(request, self._text_scene(request.scene, control), control)

    def recolor(self, request: Recolor, control: Control) -> Recolored:
        """The colors that a text asks for; of no scene, and beside a training."""
        check_cloud(request.cloud)
        return answers.answer_recolor(request, self.device, control)

    def _text_scene(self, name: str, control: Control) -> answers.TextScene:
        scene, cloud, model = self._trained(name)
        if scene.training:
            fix = "Wait for its end; clicks work meanwhile"
            raise UserError("This scene is being trained", "what it is described by changes", fix, ErrorCode.BUSY)

        def tree() -> Clusters:  # the one that was asked for last, whatever its settings; else the usual one
            last = scene.clusters
            if last is not None and last[0] is model and len(last[2].labels) == len(cloud):
                return last[2]
            return self.cluster(Cluster(name), control)

        return answers.TextScene(cloud, model, scene.described, self.device, _BLENDER_UP, tree)

    def unload(self, request: Unload) -> Done:
        """Forget a scene."""
        with self._lock:
            self._scenes.pop(request.scene, None)
        return Done()

    def status(self, request: Status) -> BackendState:
        """The memory use of this process."""
        return backend_state(self.device)

    def _trained(self, name: str) -> tuple[_Scene, GaussianCloud, SceneModel]:
        """A scene with its cloud and model as they are now: training and loading exchange them."""
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
            fix = "Click again; the scene is sent anew"
            raise UserError("The backend does not have this scene", fix=fix, code=ErrorCode.NO_SCENE)
        return scene


def _saved(path: str, model: SceneModel, header: saga_file.Header) -> str:
    """Save a model, if there is a path; returns why that was not possible, "" if it was: what was learned stays."""
    try:
        if path:
            saga_file.save(path, model, header)
    except UserError as error:
        _log.warning("%s", error)
        return error.sentence()
    return ""


def _same(a: Cluster, b: Cluster) -> bool:
    return np.array_equal(a.scales, b.scales) and a.smallest == b.smallest


def _state(name: str, scene: _Scene, note: str = "") -> SceneState:
    model = scene.model
    return SceneState(name, len(scene.cloud), model.steps if model else 0, note, model.granularity if model else 0)


def _placed(request: Train) -> tuple[Train, Path]:
    """A training with a place for the masks that it finds, and where it is kept on the way: the user's cache, unless
    the model has a place on this machine."""
    sources = request.sources
    if sources.masks == "sam" and not sources.masks_folder:
        sources = replace(sources, masks_folder=str(user_dirs.scene_folder("masks", request.scene)))
    place = Path(request.model_file) if request.model_file else user_dirs.scene_folder("trainings", request.scene)
    return replace(request, sources=sources), place


def _model_of(request: LoadScene, count: int) -> tuple[SceneModel, saga_file.Header]:
    model, header = saga_file.load(request.model_file, request.scene)
    model_transfer.require_count(header, count, Path(request.model_file).name)
    return model, header


def _whole_cloud(request: LoadScene) -> GaussianCloud:
    """The cloud with a row for every id; Gaussians that the client no longer has are transparent."""
    cloud, count = request.cloud, request.count or len(request.cloud)
    if not len(request.ids):
        return cloud
    if len(request.ids) != len(cloud) or request.ids.min() < 0 or request.ids.max() >= count:
        raise UserError(
            "The scene cannot be loaded", "its ids do not fit its points", fix=REPORT, code=ErrorCode.BAD_SCENE
        )
    place = np.zeros(count, np.int64)
    place[request.ids] = np.arange(len(cloud))
    whole = cloud.take(place)
    here = np.zeros(count, bool)
    here[request.ids] = True
    return GaussianCloud(whole.means, whole.quats, whole.scales, np.where(here, whole.opacities, 0), whole.sh)
