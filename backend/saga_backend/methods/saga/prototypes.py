"""SAGA's loss on prototypes: one code per segment instead of one feature per Gaussian.

If the views agree on segments, all pixels in the same segments have the same identity vectors (Eq. 6) and the same
term in the loss (Eq. 13). A prototype stands for all pixels with the same set of segments. Its feature is the sum of
the codes of these segments. The training of codes and gate uses the pairs, weights and scales of the paper; the time
of a step does not depend on the number of Gaussians. The feature of a Gaussian is the normalized sum of the codes of
its segments. Gaussians outside all segments form one more segment, the rest, which is similar to no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...common.unique_rows import unique_rows
from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from ...segments.lookup import MIN_WEIGHT_SHARE
from ...segments.segments import Segments
from ..checkpoint import State, draws_of, go_on_drawing, part_of, prefixed
from .batch import Contrast, identities
from .optimizer import RowAdam
from .settings import SagaSettings
from .step import contrast_step

_MIN_SHARE = 3e-5  # minimum share of the pixels; rarer sets of segments come from rims
_MAX_COUNT = 2048  # maximum number of prototypes
_REST_SCALE = 1.3  # scale of the rest, relative to the largest segment
_LARGE, _MIN_PROMINENCE = 0.35, 0.2  # a larger share of the cloud with less prominence: a mere union of objects


@dataclass(frozen=True, eq=False)
class Prototypes:
    """P different sets of segments at pixels, out of K segments and the rest.

    Attributes:
        members: [P,K+1] bool; the last column is the rest.
        bits: [P,W] uint64, the members as packed bits, bit k for segment k.
        scales: [K+1] float32, ascending.
        sizes: [P] float32, mean area of the segments of a prototype, in sampled pixels of all views (m_p of A.1).
    """

    members: np.ndarray
    bits: np.ndarray
    scales: np.ndarray
    sizes: np.ndarray


def find_prototypes(segments: Segments, rows: list[Contributions]) -> Prototypes:
    """Find the different sets of segments at the pixels of all views."""
    sets = unique_rows(np.concatenate([_segments_at_pixels(segments, part) for part in rows]))
    counts, members = sets.counts, np.unpackbits(sets.rows, axis=1, count=len(segments) + 1).astype(bool)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:_MAX_COUNT])
    frequent = frequent[counts[frequent] >= _MIN_SHARE * counts.sum()]
    members, counts = members[frequent], counts[frequent]
    areas = counts @ members
    sizes = (members @ areas) / np.maximum(members.sum(axis=1), 1)
    words = -(-members.shape[1] // 64)
    padded = np.zeros((len(members), words * 64), bool)
    padded[:, : members.shape[1]] = members
    bits = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    rest = _REST_SCALE * segments.scales[-1] if len(segments) else 1.0
    return Prototypes(members, bits, np.append(segments.scales, rest).astype(np.float32), sizes.astype(np.float32))


def trainable_segments(segments: Segments) -> np.ndarray:
    """[K] bool: the segments to train on: all except large ones with a low prominence.

    Near the root of the hierarchy, objects and ground merge one by one. If these unions took part, almost every pair of
    pixels would be positive at some scale, and the few pairs that separate an object from its neighbor would be lost.
    """
    trainable = (segments.prominence >= _MIN_PROMINENCE) | (segments.sizes() <= _LARGE * segments.count)
    return trainable if trainable.any() else np.ones(len(segments), bool)


def _segments_at_pixels(segments: Segments, rows: Contributions) -> np.ndarray:
    """[Q,B] uint8, packed bits: the segments of every pixel with visible Gaussians; the rest for a pixel in none."""
    rows = rows.take(rows.alphas() >= SHOWN_ALPHA)
    shares = segments.weight_shares(rows)
    rest = 1 - shares.max(axis=1, initial=0)
    inside = np.concatenate([shares, rest[:, None]], axis=1) > MIN_WEIGHT_SHARE
    return np.packbits(inside[inside.any(axis=1)], axis=1)


class PrototypeTrainer:
    """Codes [K+1,D] and gate [2,D] with their optimizer.

    Args:
        prototypes: the prototypes to train on.
        quantiles: [Q] ascending scales (scene units) at evenly spaced positions 0..1.
        settings: hyper-parameters; `pixels` is the maximum number of prototypes per step.
    """

    def __init__(self, prototypes: Prototypes, quantiles: np.ndarray, settings: SagaSettings) -> None:
        self._prototypes, self._quantiles, self._settings = prototypes, quantiles, settings
        self._rng = np.random.default_rng(settings.seed)
        channels = settings.channels
        self.codes = 0.5 * self._rng.standard_normal((len(prototypes.scales), channels)).astype(np.float32)
        slopes, offsets = self._rng.uniform(-6, 6, channels), self._rng.uniform(-1, 3, channels)
        self.gate = np.stack([slopes, offsets]).astype(np.float32)
        self._optimizers = RowAdam(self.codes), RowAdam(self.gate)
        self._members = prototypes.members.astype(np.float32)

    def step(self, index: int) -> float:
        """One optimizer step; returns the loss."""
        contrast, chosen = self._sample()
        members = self._members[chosen]
        raw = members @ self.codes
        lengths = np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-8)
        units = raw / lengths
        result = contrast_step(units, self.gate, contrast)
        if not np.isfinite(result.loss):  # skip the update of a failed step
            return result.loss
        upstream = result.pixels - (result.pixels * units).sum(axis=1, keepdims=True) * units
        rate = self._settings.rate_at(index)
        for optimizer, gradient in zip(self._optimizers, (members.T @ (upstream / lengths), result.gate), strict=True):
            optimizer.gradient[:] = gradient
            optimizer.step(np.arange(len(gradient), dtype=np.int32), rate)
        return result.loss

    def state(self) -> State:
        """Codes, gate, moments and the state of the random generator."""
        codes, gate = self._optimizers
        draws = {"draws": draws_of(self._rng)}
        return prefixed("codes", codes.state()) | prefixed("gate", gate.state()) | draws

    def resume(self, state: State) -> None:
        """Restore `state`. Raises ValueError."""
        go_on_drawing(self._rng, state["draws"])
        for name, optimizer in zip(("codes", "gate"), self._optimizers, strict=True):
            optimizer.resume(part_of(state, name))

    def _sample(self) -> tuple[Contrast, np.ndarray]:
        prototypes, scale_count = self._prototypes, self._settings.scales
        count = min(len(prototypes.members), self._settings.pixels)
        chosen = self._rng.permutation(len(prototypes.members))[:count]
        scales = ((np.arange(scale_count) + self._rng.random(scale_count)) / scale_count).astype(np.float32)
        sizes = np.interp(scales, np.linspace(0, 1, len(self._quantiles)), self._quantiles)
        vectors = identities(prototypes.bits[chosen], prototypes.scales, sizes)
        seed = int(self._rng.integers(1 << 31))
        return Contrast(vectors, scales, 1 / prototypes.sizes[chosen], seed), chosen


def features_of(segments: Segments, codes: np.ndarray) -> np.ndarray:
    """[N,D] float32 unit vectors: the sum of the codes of every Gaussian's segments, or the code of the rest.

    Args:
        segments: K segments.
        codes: [K+1,D]; the last row is the rest.
    """
    members = sparse.csr_matrix(
        (np.ones(len(segments.ids), np.float32), segments.ids, segments.offsets), shape=(len(segments), segments.count)
    )
    features = np.asarray(members.T @ codes[:-1])
    features[np.bincount(segments.ids, minlength=segments.count) == 0] = codes[-1]
    return (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)).astype(np.float32)
