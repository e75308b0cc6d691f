"""A trained model of a cloud and the selection by similarity (SAGA section 3.5). Numpy outside, numba inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numba
import numpy as np

from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from .threshold import valley

DEFAULT_THRESHOLD = 0.7
_PROBE_SCALES = np.arange(0.0, 1.0001, 0.05)
_PROBE_SAMPLE = 20_000  # number of Gaussians in the sample that decides the scale
_SAME = 0.85  # minimum IoU of two selections of the same object
_END_BONUS = 6  # slider positions added to a run that reaches the slider's end: larger scales would not change it
_SCENE_SHARE = 0.7  # a selection with more than this share of the cloud is the scene, not an object in it


@dataclass(frozen=True, eq=False)
class Answer:
    """The selection of a query.

    Attributes:
        mask: [N] bool.
        scores: [N] float32, cosine similarity with the best positive click, -1..1.
        scale: 0..1, scale of the selection.
        size_units: the same scale as a mask scale (SAGA Eq. 2), scene units.
        threshold: minimum score of the selection.
        note: why the selection is empty, or "".
    """

    mask: np.ndarray
    scores: np.ndarray
    scale: float
    size_units: float
    threshold: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class AffinityModel:
    """Scale-gated affinity features.

    Attributes:
        features: [N,D] float32, smoothed unit vectors.
        gate: [2,D] float32, weight and bias of the scale gate (Eq. 3).
        quantiles: [Q] float32, mask scales (scene units) at evenly spaced quantiles: scale s in 0..1 to scene units.
        steps: number of optimizer steps of its training.
    """

    features: np.ndarray
    gate: np.ndarray
    quantiles: np.ndarray
    steps: int = 0
    _probe: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        n = len(self.features)
        probe = np.random.default_rng(0).permutation(n)[:_PROBE_SAMPLE] if n > _PROBE_SAMPLE else np.arange(n)
        object.__setattr__(self, "_probe", np.ascontiguousarray(self.features[probe]))

    def size_of(self, scale: float) -> float:
        """Scale 0..1 as a size in scene units."""
        return float(np.interp(scale, np.linspace(0, 1, len(self.quantiles)), self.quantiles))

    def scale_gate(self, scale: float) -> np.ndarray:
        """[D] float32: the gate S(s)."""
        return (1 / (1 + np.exp(-(scale * self.gate[0] + self.gate[1])))).astype(np.float32)

    def select(
        self, rows: Contributions, positive: np.ndarray, scale: float | None = None, threshold: float | None = None
    ) -> Answer:
        """Select the Gaussians that are similar to the clicked pixels.

        A Gaussian is selected if its highest similarity with a positive click exceeds both the threshold and its
        highest similarity with a negative click.

        Args:
            rows: rows of the P clicked pixels; ids index this model.
            positive: [P] bool, False for "not this".
            scale: 0..1; None: the result of `choose_scale`.
            threshold: cosine; None: the valley of the scores, or DEFAULT_THRESHOLD without a valley.
        """
        default = DEFAULT_THRESHOLD if threshold is None else threshold
        clicks = rows.blend(self.features)
        visible = rows.alphas() >= SHOWN_ALPHA
        positive = np.asarray(positive, dtype=bool)
        positives, negatives = clicks[visible & positive], clicks[visible & ~positive]
        if not len(positives):
            note = "Nothing is under the click" if positive.any() else "There are only negative clicks"
            scale = 1.0 if scale is None else scale
            empty = np.zeros(len(self.features), bool)
            return Answer(empty, np.zeros(len(empty), np.float32), scale, self.size_of(scale), default, note)
        scale = self.choose_scale(positives, default) if scale is None else scale
        scale_gate = self.scale_gate(scale)
        scores = _best_cosine(self.features, positives, scale_gate)
        threshold = (valley(scores, default) or default) if threshold is None else threshold
        mask = scores > threshold
        if len(negatives):
            mask &= scores > _best_cosine(self.features, negatives, scale_gate)
        note = "" if mask.any() else "No Gaussian is similar enough to the click; lower the threshold"
        return Answer(mask, scores, scale, self.size_of(scale), threshold, note)

    def choose_scale(self, clicks: np.ndarray, threshold: float) -> float:
        """The scale of the most stable selection along the slider.

        Neighboring slider positions with nearly equal selections form a run. The best run has the largest product of
        its length and the square root of its median selection size. Its most typical selection determines the scale.

        Args:
            clicks: [P,D] blended features of the positive clicks.
            threshold: cosine similarity.
        """
        selections = np.stack(
            [_best_cosine(self._probe, clicks, self.scale_gate(s)) > threshold for s in _PROBE_SCALES]
        )
        sizes = selections.sum(axis=1)
        breaks = [i + 1 for i, (a, b) in enumerate(pairwise(selections)) if _iou(a, b) < _SAME]
        runs = [slice(a, b) for a, b in pairwise([0, *breaks, len(selections)])]
        stable = [run for run in runs if 0 < np.median(sizes[run]) <= _SCENE_SHARE * selections.shape[1]] or runs

        def weight(run: slice) -> float:
            length = run.stop - run.start + (_END_BONUS if run.stop == len(selections) else 0)
            return length * float(np.median(sizes[run])) ** 0.5

        best = max(stable, key=weight)
        similarity = [
            sum(_iou(selections[i], other) for other in selections[best]) for i in range(best.start, best.stop)
        ]
        return float(_PROBE_SCALES[best.start + int(np.argmax(similarity))])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def _best_cosine(features: np.ndarray, queries: np.ndarray, scale_gate: np.ndarray) -> np.ndarray:
    """[N] float32: highest cosine of gated features [N,D] with any of the gated queries [Q,D]."""
    gated = queries * scale_gate
    gated /= np.maximum(np.linalg.norm(gated, axis=1, keepdims=True), 1e-12)
    out = np.empty(len(features), np.float32)
    # <a S, b S> = <a, b S S>: the queries carry the gate of both sides; only the Gaussians' norms need S.
    _best(features, (gated * scale_gate).astype(np.float32), (scale_gate**2).astype(np.float32), out)
    return out


@numba.njit(parallel=True, fastmath=True, cache=True)
def _best(features, queries, square, out):
    for n in numba.prange(len(features)):
        norm = np.float32(0.0)
        for c in range(len(square)):
            norm += features[n, c] * features[n, c] * square[c]
        best = np.float32(-2.0)
        for q in range(len(queries)):
            dot = np.float32(0.0)
            for c in range(len(square)):
                dot += features[n, c] * queries[q, c]
            best = max(best, dot)
        out[n] = best / max(np.sqrt(norm), np.float32(1e-12))
