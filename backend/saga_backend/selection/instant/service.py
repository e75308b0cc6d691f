"""Answers to the messages of instant select: clicks, and views to encode ahead."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import Click, Done, InstantClick, LookAhead, ObjectPoints

from ...common.progress import Control
from ...masks.sam.model import chosen_file, shared_sam
from ...methods.saga.model import DEFAULT_THRESHOLD, Answer
from ...model.scene_model import SceneModel
from ...segments.lookup import choose, nearest_by_iou
from .. import click as query
from ..click import QueryObjects
from .lift import NEIGHBORS
from .segmenter import Encoded, SamSegmenter
from .select import Instant, Lifted
from .stage import ObjectStage

_PATIENCE = 20.0
"""Total seconds for encodings of neighbor views if the request leaves their number open."""
_FEWEST = 3
"""Minimum number of neighbor views: with fewer, the far side is a guess."""


def affordable(seconds: float) -> int:
    """The number of neighbor views for an encoding time in seconds: all on a GPU, few on a CPU."""
    return int(min(max(_PATIENCE / max(seconds, 1e-3), _FEWEST), len(NEIGHBORS)))


@dataclass(frozen=True, eq=False)
class SceneSnapshot:
    """A scene at the moment of a message: its cloud, its model if any, and the queried objects."""

    scene: str
    cloud: GaussianCloud
    model: SceneModel | None
    query_objects: QueryObjects

    @property
    def key(self) -> tuple:
        """Equal for scenes that look equal. It holds no reference to the cloud (an `id` could be reused later)."""
        return (self.scene, weakref.ref(self.cloud), *(_object_key(part) for part in self.query_objects.placements))


def _object_key(part: ObjectPoints) -> tuple[bytes, ...]:
    return tuple(np.ascontiguousarray(v).tobytes() for v in vars(part).values() if isinstance(v, np.ndarray))


class InstantSelector:
    """Answers instant clicks. Keeps the last model and its encoded views.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._segmenter: SamSegmenter | None = None
        self._places: OrderedDict[tuple, dict[tuple, list[View]]] = OrderedDict()

    def click(self, request: InstantClick, snapshot: SceneSnapshot, control: Control) -> Answer:
        """The selection of an instant click.

        Raises:
            UserError: if the weights or the prompts cannot be used.
            Cancelled: if the control was cancelled.
        """
        if not request.prompts:
            raise UserError("The click is not usable", "it has no prompts", fix=REPORT, code=ErrorCode.BAD_CLICK)
        if request.options.neighbors > len(NEIGHBORS):
            why = f"at most {len(NEIGHBORS)}"
            raise UserError(
                f"There are no {request.options.neighbors} neighbor views",
                why,
                "Use fewer neighbor views",
                ErrorCode.BAD_SETTINGS,
            )
        control.progress("looking", 0, 1)
        instant = self._instant(request.options.weights, snapshot, request.options.neighbors, control)
        if request.options.neighbors < 0:
            for view in instant.views_of(request.prompts):  # needed anyway; this measures the time of an encoding
                instant.prepare(view)
            instant.neighbors = affordable(self._segmenter.seconds if self._segmenter else 0.0)
        lifted = instant.select(request.prompts, request.options.wanted_scale)
        return answer_of(lifted, snapshot, request)

    def ahead(self, request: LookAhead, snapshot: SceneSnapshot, control: Control) -> Done:
        """Encode a view.

        Raises:
            UserError: if the weights cannot be used.
        """
        control.progress("looking", 0, 1)
        self._instant(request.weights, snapshot, 0, control).prepare(request.view)
        return Done()

    def if_encoded(self, request: Click, snapshot: SceneSnapshot) -> Answer | None:
        """The answer from the clicked pictures alone if all of them are encoded already; else None."""
        with self._lock:
            segmenter = self._segmenter
        if segmenter is None or not request.options.weights:
            return None
        bound = _SceneSegmenter(segmenter, snapshot.key)
        instant = Instant(bound, ObjectStage(snapshot.query_objects), snapshot.cloud.means, 0)
        if not request.prompts or not all(
            segmenter.has(view, snapshot.key) for view in instant.views_of(request.prompts)
        ):
            return None
        return answer_of(instant.select(request.prompts), snapshot, request)

    def _instant(self, weights: str, snapshot: SceneSnapshot, neighbors: int, control: Control) -> Instant:
        sam = shared_sam(chosen_file(weights), self._device)
        with self._lock:
            if self._segmenter is None or self._segmenter.sam is not sam:
                self._segmenter = SamSegmenter(sam)
            segmenter = self._segmenter
            places = self._places.setdefault(snapshot.key, {})
            while len(self._places) > 8:
                self._places.popitem(last=False)
        stage = ObjectStage(snapshot.query_objects)
        return Instant(
            _SceneSegmenter(segmenter, snapshot.key), stage, snapshot.cloud.means, neighbors, control, places
        )


@dataclass(frozen=True, eq=False)
class _SceneSegmenter:
    """A segmenter bound to one state of one scene."""

    segmenter: SamSegmenter
    key: tuple

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> Encoded:
        """See Segmenter."""
        return self.segmenter.encode(view, picture, self.key)


def answer_of(lifted: Lifted, snapshot: SceneSnapshot, request: Click) -> Answer:
    """The answer to a click from a lifted selection.

    With a model, and if the click allows it, the answer is the segment that matches the selection in the visible
    Gaussians: the segment has the far side too.
    """
    mask, model = lifted.selected, snapshot.model
    if request.options.snap and model is not None and mask.any():
        mask = nearest_by_iou(model.segments, mask, lifted.known)
    chosen = snapshot.cloud.means[mask].astype(np.float64)
    size = float(2 * np.sqrt(chosen.var(axis=0).sum())) if len(chosen) else 0.0
    scale = request.options.scale if request.options.scale >= 0 else model.scale_of(size) if model else 0.5
    return Answer(mask, lifted.scores, scale, size, DEFAULT_THRESHOLD, lifted.note)


def unsure(model: SceneModel, click: query.ResolvedClick) -> bool:
    """Whether a positive click lies outside all segments, where features answer less sharply."""
    return choose(model.segments, click.rows, click.positive, None).missed > 0


def snapshot_of(
    scene: str, cloud: GaussianCloud, model: SceneModel | None, objects: tuple[ObjectPoints, ...]
) -> SceneSnapshot:
    """A scene with the queried objects.

    Raises:
        UserError: for points that the cloud does not have.
    """
    return SceneSnapshot(scene, cloud, model, query.query_objects(cloud, objects))
