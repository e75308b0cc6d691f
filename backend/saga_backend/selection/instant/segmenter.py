"""The segmenter that finds a mask under clicks in a picture: SAM, or a stand-in for evaluations."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from blender_saga.gaussians.view import View

from ...masks.sam.model import LoadedSam

if TYPE_CHECKING:
    from segment_anything import SamPredictor

ENCODINGS = 24
"""Size of the cache of encoded pictures: some views with their neighbors. Each takes 4 MB, with vit_h as with vit_b."""


@dataclass(frozen=True, eq=False)
class PixelPrompt:
    """A prompt in the pixels of a picture.

    Attributes:
        points: [P,2] float, column and row.
        positive: [P] bool, False for "not this".
        box: [4] float: left, top, right, bottom; or None.
    """

    points: np.ndarray
    positive: np.ndarray
    box: np.ndarray | None = None

    @property
    def has_positive(self) -> bool:
        """Whether the prompt selects something; a prompt of negative points only removes."""
        return self.box is not None or bool(self.positive.any())

    @property
    def unambiguous(self) -> bool:
        """Whether there is more than one point; a single one may mean an object or a part of it."""
        return self.box is not None or len(self.points) > 1


class Encoded(Protocol):
    """An encoded picture that answers prompts."""

    def masks(self, prompt: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """One or more candidate masks [C,H,W] bool, and the quality of each [C], 0..1."""
        ...


class Segmenter(Protocol):
    """Encodes pictures."""

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> Encoded:
        """Encode the picture [H,W,3] uint8 of a view; `picture` is called only if the view is not encoded yet."""
        ...


class SamSegmenter:
    """Segment Anything with a cache of encoded pictures; safe to share between threads.

    Attributes:
        sam: the model.
        seconds: duration of the quickest encoding so far; infinite before the first.
    """

    def __init__(self, sam: LoadedSam) -> None:
        self.sam, self.seconds = sam, math.inf
        self._known: OrderedDict[tuple, SamEncoded] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, view: View, picture: Callable[[], np.ndarray], scene_key: tuple = ()) -> SamEncoded:
        """See Segmenter; `scene_key` identifies the content of the view if that may change."""
        key = (scene_key, view.key)
        known = self._known.get(key)
        if known is not None:  # a cached answer does not wait for the encoding of another picture
            return known
        with self._lock:  # one picture at a time: two at once would only compete for memory
            if key not in self._known:
                self._known[key] = self._encode(picture())
            while len(self._known) > ENCODINGS:
                self._known.popitem(last=False)
            return self._known[key]

    def has(self, view: View, scene_key: tuple = ()) -> bool:
        """Whether a view is encoded already; never waits."""
        return (scene_key, view.key) in self._known

    def _encode(self, picture: np.ndarray) -> SamEncoded:
        from segment_anything import SamPredictor

        began, predictor = time.monotonic(), SamPredictor(self.sam.model)
        predictor.set_image(picture)
        self.seconds = min(self.seconds, time.monotonic() - began)
        return SamEncoded(predictor, self.sam.shape.masks)


@dataclass(frozen=True, eq=False)
class SamEncoded:
    """See Encoded. One point gives SAM's three masks, a whole and its parts; an unambiguous prompt gives one mask."""

    predictor: SamPredictor
    several: int

    def masks(self, prompt: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """See Encoded."""
        masks, quality, _ = self.predictor.predict(
            prompt.points if len(prompt.points) else None,
            prompt.positive.astype(int) if len(prompt.points) else None,
            prompt.box,
            multimask_output=not prompt.unambiguous,
        )
        return masks, np.clip(quality, 0, 1)
