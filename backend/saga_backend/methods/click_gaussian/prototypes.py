"""Click-Gaussian's loss on prototypes: one code a segment instead of one feature a Gaussian.

Where all views agree on the masks of every level, the loss asks the same of all pixels that show the same coarse and
the same fine mask. So these are put together to a prototype, and its feature is the coarse mask's code beside the
fine one's. The codes are trained by the paper's contrastive loss, margins, stop-gradient and hypersphere term; a step
costs the same whatever the number of Gaussians. A Gaussian's feature is that of the segments it lies in, and the mean
features of the masks, of which the paper makes its global clusters, are the prototypes. There is nothing left that
guidance (Eq. 7, 8) or neighbors (Eq. 12) could mend: all views say the same.
"""

from __future__ import annotations

import numpy as np

from ..checkpoint import State, draws_of, go_on_drawing, part_of, prefixed
from ..saga.optimizer import RowAdam
from .levels import LevelView, SegmentLevels
from .regularize import sphere
from .settings import ClickSettings
from .step import pixel_loss

_RARE = 3e-5  # share of the pixels; rarer sets are rims


class CodeTrainer:
    """Codes of the segments that some view shows, one table [K,D / levels] a level, with their optimizer.

    Args:
        levels: levels of the consensus segments.
        views: all views, with labels from these levels.
        settings: hyper-parameters; `pixels` is how many prototypes take part in a step at most.
    """

    def __init__(self, levels: SegmentLevels, views: list[LevelView], settings: ClickSettings) -> None:
        self._levels, self._settings = levels, settings
        self._rng = np.random.default_rng(settings.seed)
        every, counts = np.unique(np.concatenate([v.labels for v in views], axis=1), axis=1, return_counts=True)
        self._labels = np.ascontiguousarray(every[:, counts >= _RARE * counts.sum()])  # [L,P]
        self._sizes = counts[counts >= _RARE * counts.sum()]
        width = settings.channels // settings.levels
        shape = (settings.levels * (levels.count + 1), width)  # code k of level l stands in row l (K+1) + k
        self._codes = RowAdam((self._rng.standard_normal(shape) / np.sqrt(width)).astype(np.float32))
        self._all = np.arange(shape[0], dtype=np.int32)

    def step(self) -> float:
        """One optimizer step; returns the loss."""
        s, count = self._settings, self._labels.shape[1]
        chosen = self._rng.permutation(count)[: s.pixels]
        labels = self._labels[:, chosen]
        loss, upstream = pixel_loss(self._features(labels), labels, s)
        for level in range(s.levels):
            np.add.at(self._codes.gradient, self._rows(level, labels[level]), upstream[:, s.own(level)])
        loss += sphere(self._codes.values, 1, s.weights.sphere * s.levels, self._codes.gradient)
        if not np.isfinite(loss):  # skip the update of a failed step
            self._codes.gradient[:] = 0
            return loss
        self._codes.step(self._all, s.rate)
        return loss

    def state(self) -> State:
        """Codes, moments and random state."""
        return prefixed("codes", self._codes.state()) | {"draws": draws_of(self._rng)}

    def resume(self, state: State) -> None:
        """Restore `state`. Raises ValueError."""
        go_on_drawing(self._rng, state["draws"])
        self._codes.resume(part_of(state, "codes"))

    def features(self) -> np.ndarray:
        """[N,D] float32: of every Gaussian."""
        return self._features(self._levels.of_gaussians())

    def clusters(self) -> list[np.ndarray]:
        """Of every level the clusters' features [C,D_l] float32 unit vectors: one for each mask that is shown."""
        features, out = self._features(self._labels), []
        for level, labels in enumerate(self._labels):
            part = features[:, self._settings.span(level)]
            centers = np.stack([self._sizes[labels == k] @ part[labels == k] for k in np.unique(labels)])
            out.append((centers / np.linalg.norm(centers, axis=1, keepdims=True)).astype(np.float32))
        return out

    def _features(self, labels: np.ndarray) -> np.ndarray:
        """[P,D] of masks [L,P]."""
        return np.concatenate([self._codes.values[self._rows(k, of)] for k, of in enumerate(labels)], axis=1)

    def _rows(self, level: int, labels: np.ndarray) -> np.ndarray:
        return level * (self._levels.count + 1) + labels
