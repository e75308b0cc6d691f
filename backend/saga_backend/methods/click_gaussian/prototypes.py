"""Click-Gaussian's loss on prototypes: one code per segment instead of one feature per Gaussian.

If all views agree on the masks of every level, all pixels with the same coarse and the same fine mask have the same
term in the loss. A prototype stands for all these pixels. Its feature is the code of the coarse mask followed by the
code of the fine mask. The training uses the contrastive loss, margins, stop-gradient and hypersphere term of the paper;
the time of a step does not depend on the number of Gaussians. The feature of a Gaussian has the codes of its segments.
The paper clusters the mean features of masks to find its global clusters; here, the prototypes provide them. Guidance
(Eq. 7, 8) and the neighbor term (Eq. 12) are not needed, because they only correct differences between views.
"""

from __future__ import annotations

import numpy as np

from ..checkpoint import State, draws_of, go_on_drawing, part_of, prefixed
from ..saga.optimizer import RowAdam
from .levels import LevelView, SegmentLevels
from .regularize import sphere_loss
from .settings import ClickSettings
from .step import pixel_loss

_MIN_SHARE = 3e-5  # minimum share of the pixels; rarer sets of masks come from rims


class CodeTrainer:
    """Codes of the segments, one table [K+1,D / levels] per level, with their optimizer.

    Args:
        levels: levels of the consensus segments.
        views: all views, with labels from these levels.
        settings: hyper-parameters; `pixels` is the maximum number of prototypes per step.
    """

    def __init__(self, levels: SegmentLevels, views: list[LevelView], settings: ClickSettings) -> None:
        self._levels, self._settings = levels, settings
        self._rng = np.random.default_rng(settings.seed)
        sets, counts = np.unique(np.concatenate([v.labels for v in views], axis=1), axis=1, return_counts=True)
        frequent = counts >= _MIN_SHARE * counts.sum()
        self._labels = np.ascontiguousarray(sets[:, frequent])  # [L,P]
        self._sizes = counts[frequent]
        width = settings.channels // settings.levels
        shape = (settings.levels * (levels.count + 1), width)  # code k of level l is in row l (K+1) + k
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
        loss += sphere_loss(self._codes.values, 1, s.weights.sphere * s.levels, self._codes.gradient)
        if not np.isfinite(loss):  # skip the update of a failed step
            self._codes.gradient[:] = 0
            return loss
        self._codes.step(self._all, s.rate)
        return loss

    def state(self) -> State:
        """Codes, moments and the state of the random generator."""
        return prefixed("codes", self._codes.state()) | {"draws": draws_of(self._rng)}

    def resume(self, state: State) -> None:
        """Restore `state`. Raises ValueError."""
        go_on_drawing(self._rng, state["draws"])
        self._codes.resume(part_of(state, "codes"))

    def features(self) -> np.ndarray:
        """[N,D] float32: the feature of every Gaussian."""
        return self._features(self._levels.of_gaussians())

    def clusters(self) -> list[np.ndarray]:
        """Features of the clusters of every level, [C,D_l] float32 unit vectors: one cluster per mask in the views."""
        features, out = self._features(self._labels), []
        for level, labels in enumerate(self._labels):
            part = features[:, self._settings.span(level)]
            centers = np.stack([self._sizes[labels == k] @ part[labels == k] for k in np.unique(labels)])
            out.append((centers / np.linalg.norm(centers, axis=1, keepdims=True)).astype(np.float32))
        return out

    def _features(self, labels: np.ndarray) -> np.ndarray:
        """[P,D]: the features of masks [L,P]."""
        return np.concatenate([self._codes.values[self._rows(k, part)] for k, part in enumerate(labels)], axis=1)

    def _rows(self, level: int, labels: np.ndarray) -> np.ndarray:
        return level * (self._levels.count + 1) + labels
