"""Answers to the messages about text. The index of a scene is built on the first request and kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import Candidates, Clusters, FindText, Names, NameSegments, Recolor, Recolored

from ..cameras.virtual import CaptureSettings, capture
from ..common.progress import Control
from ..model.scene_model import SceneModel
from ..rasterizer.select import rasterizer
from . import search, text_file
from .clip_model import LoadedClip, shared_clip
from .cluster_renders import ClipRenderer
from .mask_vectors import MOST_VIEWS, TextSources
from .recolor import RecolorSettings, recolor
from .text_index import TextIndex

CAPTURE = CaptureSettings(MOST_VIEWS)
"""Virtual views of the splat for its index."""
_MOST = 100  # candidates
_MOST_STEPS = 10_000  # of recoloring
_UP = (0.0, 0.0, 1.0)
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class TextIndices:
    """The text indices of one scene.

    Attributes:
        model: the model behind the indices, None before the first.
        indices: one for each way of search.
    """

    model: SceneModel | None = None
    indices: dict[str, TextIndex] = field(default_factory=dict)

    def open(self, model_file: str, model: SceneModel) -> None:
        """Read the indices in the `.saga` file of a model."""
        self.model, self.indices = model, text_file.read(Path(model_file), model.count)


@dataclass(frozen=True, eq=False)
class TextScene:
    """A scene for text search.

    Attributes:
        cloud, model: their current state.
        described: the indices so far.
        device: "cpu" or "cuda".
        up: direction away from the ground.
        tree: gives the scene's objects and parts; called only by the search by clusters.
    """

    cloud: GaussianCloud
    model: SceneModel
    described: TextIndices
    device: str
    up: tuple[float, float, float]
    tree: Callable[[], Clusters]


_index_lock = threading.Lock()


def find_text(request: FindText, scene: TextScene, control: Control) -> Candidates:
    """Find the Gaussians for a text.

    Raises:
        UserError: for a bad text, way or weights file, or if the scene has nothing to find.
        Cancelled: if the control was cancelled.
    """
    search.clean_text(request.text)  # before minutes of work
    way = search.resolve_way(request.way, scene.model.affinity is not None)
    if not 1 <= request.limit <= _MOST:
        why = f"the limit is {request.limit}"
        raise UserError("The number of candidates is not usable", why, f"Use 1 to {_MOST}", ErrorCode.BAD_SETTINGS)
    clip = _clip(request.weights, scene.device)
    index, is_new, note = _load_index(way, scene, clip, request.model_file, control)
    ranking = search.find(index, request.text, clip, request.limit)
    masks = [index.mask(int(target)) for target in ranking.targets]
    bits = np.stack([np.packbits(mask) for mask in masks]) if masks else np.zeros((0, -(-index.count // 8)), np.uint8)
    if not ranking.matches:
        note = f"Nothing here looks like '{request.text.strip()}'" + (f". {note}" if note else "")
    counts = np.array([mask.sum() for mask in masks], np.int32)
    return Candidates(
        request.scene, request.text, way, bits, counts, ranking.scores, ranking.matches,
        index.thumbnails[ranking.targets], note, is_new,
    )  # fmt: skip


def name_segments(request: NameSegments, scene: TextScene, control: Control) -> Names:
    """Choose a name for every node of the scene's tree from a list of words.

    Raises:
        UserError: if there are no words or no tree, or for a bad weights file.
        Cancelled: if the control was cancelled.
    """
    words = [word for word in request.words if word.strip()]
    if not words:
        raise UserError("There are no words to choose names from", fix="Give words, separated by commas")
    clip = _clip(request.weights, scene.device)
    index, is_new, note = _load_index("clusters", scene, clip, request.model_file, control)
    names, scores = search.choose_names(index, words, clip)
    return Names(request.scene, tuple(names), scores, note, is_new)


def answer_recolor(request: Recolor, device: str, control: Control) -> Recolored:
    """Recolor Gaussians by text.

    Raises:
        UserError: for a bad text, seed or number of steps, a bad weights file, or invisible Gaussians.
        Cancelled: if the control was cancelled.
    """
    settings = RecolorSettings(seed=request.seed)
    if not 0 <= request.steps <= _MOST_STEPS or request.seed < 0:
        why = f"there are {request.steps} steps, and the seed is {request.seed}"
        fix = f"Use 0 to {_MOST_STEPS} steps, and a seed that is not negative"
        raise UserError("The settings for recoloring are not usable", why, fix, ErrorCode.BAD_SETTINGS)
    settings = replace(settings, steps=request.steps or settings.steps)
    control.progress("opening CLIP", 0, 1)
    renderer = ClipRenderer(_clip(request.weights, device), rasterizer(device), _UP)
    return Recolored(recolor(request.cloud, (request.source, request.text), renderer, control, settings))


def _clip(weights: str, device: str) -> LoadedClip:
    if not weights:
        fix = "Choose an OpenCLIP weights file in the preferences of Blender SAGA, or with --clip"
        raise UserError("Text needs CLIP", "there is no CLIP weights file", fix, ErrorCode.BAD_WEIGHTS)
    return shared_clip(Path(weights), device)


def _load_index(
    way: str, scene: TextScene, clip: LoadedClip, model_file: str, control: Control
) -> tuple[TextIndex, bool, str]:
    """The index of a scene, whether it is new, and why it could not be saved ("" if it was)."""
    with _index_lock:
        described = scene.described
        if described.model is not scene.model:
            described.model, described.indices = scene.model, {}
        tree = scene.tree() if way == "clusters" else None
        index = described.indices.get(way)
        if index is not None and index.clip == clip.identity and _of_tree(index, tree):
            return index, False, ""
        index = search.build_index(way, _sources(way, scene, control), clip, control, tree)
        described.indices[way] = index
        return index, True, _save_index(index, model_file)


def _of_tree(index: TextIndex, tree: Clusters | None) -> bool:
    """Whether an index by clusters belongs to the nodes of this tree."""
    return tree is None or np.array_equal(np.diff(index.offsets), tree.counts)


def _sources(way: str, scene: TextScene, control: Control) -> TextSources:
    """The sources of an index: votes need virtual views, clusters need none."""
    views = []
    if way == "votes":
        views = capture(scene.cloud, replace(CAPTURE, up=scene.up), control).views
    return TextSources(scene.cloud, scene.model, views, rasterizer(scene.device), None, scene.up)


def _save_index(index: TextIndex, model_file: str) -> str:
    if not model_file or not Path(model_file).is_file():
        return ""
    try:
        text_file.add(Path(model_file), index)
    except UserError as error:  # the answer is still good; only the next session builds the index again
        _log.warning("%s", error)
        return f"The text index could not be saved: {error.sentence()}"
    return ""
