"""Instant select under the evaluation protocol: it needs no training and answers each click from the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import Prompt

from ..rasterizer.select import Rasterizer
from ..selection.instant.segmenter import Segmenter
from ..selection.instant.select import Instant
from ..selection.instant.stage import CloudStage
from .protocol import Sight

_STEPS = 2  # the slider chooses one of three masks


@dataclass(eq=False)
class InstantJudge:
    """Answers the clicks of the protocol, repeated clicks from a cache.

    Attributes:
        cloud: N Gaussians.
        segmenter: finds the masks.
        raster: renders the pictures.
        neighbors: number of further views around an object that vote too.
    """

    cloud: GaussianCloud
    segmenter: Segmenter
    raster: Rasterizer
    neighbors: int
    _cache: dict[tuple, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        stage = CloudStage(self.cloud, self.raster)
        self._instant = Instant(self.segmenter, stage, self.cloud.means, self.neighbors)

    def select(self, sight: Sight, pixels: np.ndarray, positive: np.ndarray, scale: float | None) -> np.ndarray:
        """Select the Gaussians of some clicks (see protocol.Selector)."""
        step = None if scale is None else round(scale * _STEPS) / _STEPS
        at = np.asarray(pixels, np.float32)
        key = (sight.view.key, at.tobytes(), np.asarray(positive).tobytes(), step)
        if key not in self._cache:
            prompts = [Prompt(sight.view, p[None], positive=bool(yes)) for p, yes in zip(at, positive, strict=True)]
            self._cache[key] = self._instant.select(prompts, step).selected
        return self._cache[key]
