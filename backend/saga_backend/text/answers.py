"""Messages about text: what a scene has been described as is kept, and what is missing is made when first asked for."""

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
from .recolor import RecolorSettings, recolor
from .seen_masks import MOST_VIEWS, TextSources
from .text_index import TextIndex

CAPTURE = CaptureSettings(MOST_VIEWS)
"""Views of the splat itself that a scene is described by."""
_MOST = 100  # candidates
_MOST_STEPS = 10_000  # of recoloring
_UP = (0.0, 0.0, 1.0)
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Described:
    """What is known of the looks of one scene.

    Attributes:
        model: that the indices were made with, None before the first.
        indices: by their way.
    """

    model: SceneModel | None = None
    indices: dict[str, TextIndex] = field(default_factory=dict)

    def open(self, model_file: str, model: SceneModel) -> None:
        """Take in what the `.saga` file of a model has."""
        self.model, self.indices = model, text_file.read(Path(model_file), model.count)


@dataclass(frozen=True, eq=False)
class TextScene:
    """A scene as the answers need it.

    Attributes:
        cloud, model: as they are now.
        described: what is known already.
        device: "cpu" or "cuda".
        up: direction away from the ground.
        tree: gives the scene's things and parts; asked only by who needs them.
    """

    cloud: GaussianCloud
    model: SceneModel
    described: Described
    device: str
    up: tuple[float, float, float]
    tree: Callable[[], Clusters]


_one_at_a_time = threading.Lock()


def find_text(request: FindText, scene: TextScene, control: Control) -> Candidates:
    """Answer a text.

    Raises:
        UserError: for a bad text, way or file of weights, or if the scene has nothing to find.
        Cancelled: if the control was cancelled.
    """
    search.checked(request.text)  # before minutes of work
    way = search.way_for(request.way, scene.model.affinity is not None)
    if not 1 <= request.limit <= _MOST:
        why = f"{request.limit} candidates were asked for"
        raise UserError("That many cannot be answered", why, f"Use 1 to {_MOST}", ErrorCode.BAD_SETTINGS)
    clip = _clip(request.weights, scene.device)
    index, described, note = _index(way, scene, clip, request.model_file, control)
    ranking = search.find(index, request.text, clip, request.limit)
    masks = [index.mask(int(target)) for target in ranking.targets]
    bits = np.stack([np.packbits(mask) for mask in masks]) if masks else np.zeros((0, -(-index.count // 8)), np.uint8)
    if not ranking.matches:
        note = f"Nothing here looks like '{request.text.strip()}'" + (f". {note}" if note else "")
    counts = np.array([mask.sum() for mask in masks], np.int32)
    return Candidates(
        request.scene, request.text, way, bits, counts, ranking.scores, ranking.matches,
        index.thumbnails[ranking.targets], note, described,
    )  # fmt: skip


def name_segments(request: NameSegments, scene: TextScene, control: Control) -> Names:
    """Answer a list of words: a name for every node of the scene's tree.

    Raises:
        UserError: if there are no words or no tree, or for a bad file of weights.
        Cancelled: if the control was cancelled.
    """
    if not [word for word in request.words if word.strip()]:
        raise UserError("There are no words to choose names from", fix="Give some, with commas between them")
    clip = _clip(request.weights, scene.device)
    index, described, note = _index("clusters", scene, clip, request.model_file, control)
    names, scores = search.names(index, [word for word in request.words if word.strip()], clip)
    return Names(request.scene, tuple(names), scores, note, described)


def recolored(request: Recolor, device: str, control: Control) -> Recolored:
    """Answer a wish for other colors.

    Raises:
        UserError: for a bad text, seed or number of steps, a bad file of weights, or Gaussians that nobody can see.
        Cancelled: if the control was cancelled.
    """
    given = RecolorSettings(seed=request.seed)
    if not 0 <= request.steps <= _MOST_STEPS or request.seed < 0:
        why = f"{request.steps} steps and the seed {request.seed} were asked for"
        fix = f"Use at most {_MOST_STEPS} steps, and nothing negative"
        raise UserError("The colors cannot be fitted so", why, fix, ErrorCode.BAD_SETTINGS)
    settings = replace(given, steps=request.steps or given.steps)
    control.progress("opening CLIP", 0, 1)
    seeing = (_clip(request.weights, device), rasterizer(device), _UP)
    return Recolored(recolor(request.cloud, (request.source, request.text), seeing, control, settings))


def _clip(weights: str, device: str) -> LoadedClip:
    if not weights:
        fix = "Choose a file of OpenCLIP weights in the preferences of Blender SAGA, or with --clip"
        raise UserError("What a text means needs CLIP", "no file of its weights was given", fix, ErrorCode.BAD_WEIGHTS)
    return shared_clip(Path(weights), device)


def _index(
    way: str, scene: TextScene, clip: LoadedClip, model_file: str, control: Control
) -> tuple[TextIndex, bool, str]:
    """The index of a scene, whether it was made now, and why it could not be kept, if so."""
    with _one_at_a_time:
        described = scene.described
        if described.model is not scene.model:
            described.model, described.indices = scene.model, {}
        tree = scene.tree() if way == "clusters" else None
        index = described.indices.get(way)
        if index is not None and index.clip == clip.identity and _of_tree(index, tree):
            return index, False, ""
        index = search.build_index(way, _sources(way, scene, control), clip, control, tree)
        described.indices[way] = index
        return index, True, _kept(index, model_file)


def _of_tree(index: TextIndex, tree: Clusters | None) -> bool:
    """Whether an index by clusters is of the nodes of this tree."""
    return tree is None or np.array_equal(np.diff(index.offsets), tree.counts)


def _sources(way: str, scene: TextScene, control: Control) -> TextSources:
    """Views of the splat itself, of which votes need many and clusters none."""
    views = []
    if way == "votes":
        views = capture(scene.cloud, replace(CAPTURE, up=scene.up), control).views
    return TextSources(scene.cloud, scene.model, views, rasterizer(scene.device), None, scene.up)


def _kept(index: TextIndex, model_file: str) -> str:
    if not model_file or not Path(model_file).is_file():
        return ""
    try:
        text_file.add(Path(model_file), index)
    except UserError as error:  # the answer is as good; it has to be made again next time
        _log.warning("%s", error)
        return f"The description could not be kept: {error.sentence()}"
    return ""
