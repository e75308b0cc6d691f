"""What finds a mask under clicks in a picture: SAM, or in evaluations what stands in for it."""

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
"""Encoded pictures that are kept: some views with their neighbors. Each takes 4 MB, with vit_h as with vit_b."""


@dataclass(frozen=True, eq=False)
class PixelPrompt:
    """What is pointed at in a picture, in its pixels.

    Attributes:
        points: [P,2] float, column and row.
        positive: [P] bool, False for "not this".
        box: [4] float: left, top, right, bottom; None without.
    """

    points: np.ndarray
    positive: np.ndarray
    box: np.ndarray | None = None

    @property
    def wants(self) -> bool:
        """Whether something is to be selected, not only left out."""
        return self.box is not None or bool(self.positive.any())

    @property
    def clear(self) -> bool:
        """Whether more is known than one point, which may mean a thing or a part of it."""
        return self.box is not None or len(self.points) > 1


class Encoded(Protocol):
    """A picture that prompts can be asked about."""

    def masks(self, pointed: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """Masks [C,H,W] bool that may be meant, one or more, and how good each is [C], 0..1."""
        ...


class Segmenter(Protocol):
    """Encodes pictures."""

    def encode(self, view: View, picture: Callable[[], np.ndarray]) -> Encoded:
        """Look at a picture [H,W,3] uint8 of a view; it is asked for only if that was not done before."""
        ...


class SamSegmenter:
    """Segment Anything. Remembers the pictures it has encoded by `key`; threads may share it.

    Attributes:
        sam: the model.
        seconds: that the quickest encoding so far took; infinite before the first.
    """

    def __init__(self, sam: LoadedSam) -> None:
        self.sam, self.seconds = sam, math.inf
        self._known: OrderedDict[tuple, SamEncoded] = OrderedDict()
        self._lock = threading.Lock()

    def encode(self, view: View, picture: Callable[[], np.ndarray], shown: tuple = ()) -> SamEncoded:
        """See Segmenter; `shown` says what the view shows, where that is not always the same."""
        key = (shown, view.key)
        known = self._known.get(key)
        if known is not None:  # a quick answer does not wait for another picture's encoding
            return known
        with self._lock:  # one picture at a time: two at once would only take each other's memory
            if key not in self._known:
                self._known[key] = self._encoded(picture())
            while len(self._known) > ENCODINGS:
                self._known.popitem(last=False)
            return self._known[key]

    def has(self, view: View, shown: tuple = ()) -> bool:
        """Whether a view is encoded already; never waits."""
        return (shown, view.key) in self._known

    def _encoded(self, picture: np.ndarray) -> SamEncoded:
        from segment_anything import SamPredictor

        began, predictor = time.monotonic(), SamPredictor(self.sam.model)
        predictor.set_image(picture)
        self.seconds = min(self.seconds, time.monotonic() - began)
        return SamEncoded(predictor, self.sam.shape.masks)


@dataclass(frozen=True, eq=False)
class SamEncoded:
    """See Encoded. One point gives SAM's three masks, a whole and its parts; a clearer prompt the one it is sure of."""

    predictor: SamPredictor
    several: int

    def masks(self, pointed: PixelPrompt) -> tuple[np.ndarray, np.ndarray]:
        """See Encoded."""
        masks, quality, _ = self.predictor.predict(
            pointed.points if len(pointed.points) else None,
            pointed.positive.astype(int) if len(pointed.points) else None,
            pointed.box,
            multimask_output=not pointed.clear,
        )
        return masks, np.clip(quality, 0, 1)
