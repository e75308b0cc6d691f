"""Messages about Segment Anything: instant clicks, views encoded ahead, weights fetched."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View
from blender_saga.wire.errors import REPORT, UserError
from blender_saga.wire.messages import Click, Done, FetchWeights, LookAhead, ObjectPoints, Weights

from . import query
from .control import Control
from .masks.sam_files import OFFICIAL, download, weights_folder
from .masks.sam_model import chosen_file, shared_sam
from .methods.instant.lift import NEIGHBOURS
from .methods.instant.segmenter import Encoded, SamSegmenter
from .methods.instant.select import Instant, Lifted
from .methods.instant.stage import ActorStage
from .model import DEFAULT_THRESHOLD, Answer
from .query import Actors
from .scene_model import SceneModel
from .segment_query import choose, most_like
from .text import clip_files

_PATIENCE = 20.0
"""Seconds that the encodings of neighbours may take in all where their number was not chosen."""
_FEWEST = 3
"""Neighbours, however long they take: with less, the far side is a guess."""


def affordable(seconds: float) -> int:
    """How many neighbours are asked where an encoding takes so many seconds: all on a GPU, few on a CPU."""
    return int(min(max(_PATIENCE / max(seconds, 1e-3), _FEWEST), len(NEIGHBOURS)))


@dataclass(frozen=True, eq=False)
class Standing:
    """A scene at the moment of a message: its cloud, its model if it has one, and the objects that take part."""

    scene: str
    cloud: GaussianCloud
    model: SceneModel | None
    actors: Actors

    @property
    def key(self) -> tuple:
        """Equal for what looks equal; it does not keep the cloud. (Its `id` would be given to another cloud later.)"""
        return (self.scene, weakref.ref(self.cloud), *(_object_key(part) for part in self.actors.objects))


def _object_key(part: ObjectPoints) -> tuple[bytes, ...]:
    return tuple(np.ascontiguousarray(v).tobytes() for v in vars(part).values() if isinstance(v, np.ndarray))


class InstantDesk:
    """Answers them. Keeps the last model and the views it has encoded.

    Args:
        device: "cpu" or "cuda".
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._segmenter: SamSegmenter | None = None
        self._places: OrderedDict[tuple, dict[tuple, list[View]]] = OrderedDict()

    def click(self, request: Click, standing: Standing, control: Control) -> Answer:
        """What an instant click selects.

        Raises:
            UserError: if the weights or the prompts cannot be used.
            Cancelled: if the control was cancelled.
        """
        if not request.prompts:
            raise UserError("The click is not usable", "it has no prompts", fix=REPORT, code="bad_click")
        if request.neighbours > len(NEIGHBOURS):
            why = f"at most {len(NEIGHBOURS)}"
            raise UserError(
                f"There are no {request.neighbours} neighbours", why, "Use fewer views from around", "bad_settings"
            )
        control.progress("looking", 0, 1)
        instant = self._instant(request.checkpoint, standing, request.neighbours, control)
        if request.neighbours < 0:
            for view in instant.views_of(request.prompts):  # encoded anyway: now it is known how long that takes
                instant.prepare(view)
            instant.neighbours = affordable(self._segmenter.seconds if self._segmenter else 0.0)
        lifted = instant.select(request.prompts, None if request.scale < 0 else request.scale)
        return answer_of(lifted, standing, request)

    def ahead(self, request: LookAhead, standing: Standing, control: Control) -> Done:
        """Encode a view.

        Raises:
            UserError: if the weights cannot be used.
        """
        control.progress("looking", 0, 1)
        self._instant(request.checkpoint, standing, 0, control).prepare(request.view)
        return Done()

    def if_encoded(self, request: Click, standing: Standing) -> Answer | None:
        """The answer from the clicked pictures alone, where all of them were encoded already; else None."""
        with self._lock:
            segmenter = self._segmenter
        if segmenter is None or not request.checkpoint:
            return None
        shown = _Keyed(segmenter, standing.key)
        instant = Instant(shown, ActorStage(standing.actors), standing.cloud.means, 0)
        if not request.prompts or not all(
            segmenter.has(view, standing.key) for view in instant.views_of(request.prompts)
        ):
            return None
        return answer_of(instant.select(request.prompts), standing, request)

    def fetch(self, request: FetchWeights, control: Control) -> Weights:
        """Download weights.

        Raises:
            UserError: if there are none of that kind, or they cannot be had.
            Cancelled: if the control was cancelled; what has come stays.
        """
        known = OFFICIAL | {clip_files.OFFICIAL.kind: clip_files.OFFICIAL}
        file = known.get(request.kind)
        if file is None:
            raise UserError(
                f"There are no weights '{request.kind}'", fix=f"Use: {', '.join(known)}", code="bad_settings"
            )
        folder = Path(request.folder) if request.folder else weights_folder()
        return Weights(str(download(file, folder, control)))

    def _instant(self, checkpoint: str, standing: Standing, neighbours: int, control: Control) -> Instant:
        sam = shared_sam(chosen_file(checkpoint), self._device)
        with self._lock:
            if self._segmenter is None or self._segmenter.sam is not sam:
                self._segmenter = SamSegmenter(sam)
            segmenter = self._segmenter
            places = self._places.setdefault(standing.key, {})
            while len(self._places) > 8:
                self._places.popitem(last=False)
        stage = ActorStage(standing.actors)
        return Instant(_Keyed(segmenter, standing.key), stage, standing.cloud.means, neighbours, control, places)


@dataclass(frozen=True, eq=False)
class _Keyed:
    """A segmenter whose pictures show one state of one scene."""

    segmenter: SamSegmenter
    key: tuple

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> Encoded:
        """See Segmenter."""
        return self.segmenter.encode(view, picture, self.key)


def answer_of(lifted: Lifted, standing: Standing, request: Click) -> Answer:
    """What was lifted as the answer to a click; with a trained model, and if the click allows it, as the segment that
    is much like it in what the pictures show: that has the far side too.
    """
    mask, model = lifted.selected, standing.model
    if request.snap and model is not None and mask.any():
        mask = most_like(model.segments, mask, lifted.known)
    chosen = standing.cloud.means[mask].astype(np.float64)
    size = float(2 * np.sqrt(chosen.var(axis=0).sum())) if len(chosen) else 0.0
    scale = request.scale if request.scale >= 0 else model.scale_of(size) if model else 0.5
    return Answer(mask, lifted.scores, scale, size, DEFAULT_THRESHOLD, lifted.note)


def unsure(model: SceneModel, asked: query.Asked) -> bool:
    """Whether a positive click lies where no segment holds it: features answer there, less sharply."""
    return choose(model.segments, asked.rows, asked.positive, None).missed > 0


def standing_of(
    scene: str, cloud: GaussianCloud, model: SceneModel | None, objects: tuple[ObjectPoints, ...]
) -> Standing:
    """A scene with those of its objects that take part.

    Raises:
        UserError: for points that the cloud does not have.
    """
    return Standing(scene, cloud, model, query.actors(cloud, objects))
