"""Messages about Segment Anything: instant clicks and views encoded ahead."""

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
from blender_saga.wire.messages import Click, Done, LookAhead, ObjectPoints

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
"""Seconds that the encodings of neighbors may take in all where their number was not chosen."""
_FEWEST = 3
"""Neighbors, however long they take: with less, the far side is a guess."""


def affordable(seconds: float) -> int:
    """How many neighbors are asked where an encoding takes so many seconds: all on a GPU, few on a CPU."""
    return int(min(max(_PATIENCE / max(seconds, 1e-3), _FEWEST), len(NEIGHBORS)))


@dataclass(frozen=True, eq=False)
class SceneSnapshot:
    """A scene at the moment of a message: its cloud, its model if it has one, and the objects that take part."""

    scene: str
    cloud: GaussianCloud
    model: SceneModel | None
    query_objects: QueryObjects

    @property
    def key(self) -> tuple:
        """Equal for what looks equal; it does not keep the cloud. (Its `id` would be given to another cloud later.)"""
        return (self.scene, weakref.ref(self.cloud), *(_object_key(part) for part in self.query_objects.objects))


def _object_key(part: ObjectPoints) -> tuple[bytes, ...]:
    return tuple(np.ascontiguousarray(v).tobytes() for v in vars(part).values() if isinstance(v, np.ndarray))


class InstantSelector:
    """Answers them. Keeps the last model and the views it has encoded.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._segmenter: SamSegmenter | None = None
        self._places: OrderedDict[tuple, dict[tuple, list[View]]] = OrderedDict()

    def click(self, request: Click, snapshot: SceneSnapshot, control: Control) -> Answer:
        """What an instant click selects.

        Raises:
            UserError: if the weights or the prompts cannot be used.
            Cancelled: if the control was cancelled.
        """
        if not request.prompts:
            raise UserError("The click is not usable", "it has no prompts", fix=REPORT, code=ErrorCode.BAD_CLICK)
        if request.neighbors > len(NEIGHBORS):
            why = f"at most {len(NEIGHBORS)}"
            raise UserError(
                f"There are no {request.neighbors} neighbors",
                why,
                "Use fewer views from around",
                ErrorCode.BAD_SETTINGS,
            )
        control.progress("looking", 0, 1)
        instant = self._instant(request.weights, snapshot, request.neighbors, control)
        if request.neighbors < 0:
            for view in instant.views_of(request.prompts):  # encoded anyway: now it is known how long that takes
                instant.prepare(view)
            instant.neighbors = affordable(self._segmenter.seconds if self._segmenter else 0.0)
        lifted = instant.select(request.prompts, None if request.scale < 0 else request.scale)
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
        """The answer from the clicked pictures alone, where all of them were encoded already; else None."""
        with self._lock:
            segmenter = self._segmenter
        if segmenter is None or not request.weights:
            return None
        shown = _Keyed(segmenter, snapshot.key)
        instant = Instant(shown, ObjectStage(snapshot.query_objects), snapshot.cloud.means, 0)
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
        return Instant(_Keyed(segmenter, snapshot.key), stage, snapshot.cloud.means, neighbors, control, places)


@dataclass(frozen=True, eq=False)
class _Keyed:
    """A segmenter whose pictures show one state of one scene."""

    segmenter: SamSegmenter
    key: tuple

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> Encoded:
        """See Segmenter."""
        return self.segmenter.encode(view, picture, self.key)


def answer_of(lifted: Lifted, snapshot: SceneSnapshot, request: Click) -> Answer:
    """What was lifted as the answer to a click; with a trained model, and if the click allows it, as the segment that
    is much like it in what the pictures show: that has the far side too.
    """
    mask, model = lifted.selected, snapshot.model
    if request.snap and model is not None and mask.any():
        mask = nearest_by_iou(model.segments, mask, lifted.known)
    chosen = snapshot.cloud.means[mask].astype(np.float64)
    size = float(2 * np.sqrt(chosen.var(axis=0).sum())) if len(chosen) else 0.0
    scale = request.scale if request.scale >= 0 else model.scale_of(size) if model else 0.5
    return Answer(mask, lifted.scores, scale, size, DEFAULT_THRESHOLD, lifted.note)


def unsure(model: SceneModel, asked: query.ResolvedClick) -> bool:
    """Whether a positive click lies where no segment holds it: features answer there, less sharply."""
    return choose(model.segments, asked.rows, asked.positive, None).missed > 0


def snapshot_of(
    scene: str, cloud: GaussianCloud, model: SceneModel | None, objects: tuple[ObjectPoints, ...]
) -> SceneSnapshot:
    """A scene with those of its objects that take part.

    Raises:
        UserError: for points that the cloud does not have.
    """
    return SceneSnapshot(scene, cloud, model, query.query_objects(cloud, objects))
