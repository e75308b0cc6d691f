"""SAGA's loss on prototypes: one code a segment instead of one feature a Gaussian.

Where views agree on segments, all pixels that lie in the same segments have the same identity vectors (Eq. 6), and the
loss (Eq. 13) asks the same of all of them. So the pixels are put together to prototypes, one for each set of segments
that occurs, and the feature of a prototype is the sum of its segments' codes. The codes and the gate are trained by the
paper's pairs, weights and scales; a step costs the same whatever the number of Gaussians. A Gaussian's feature is then
that of the segments it lies in. What no segment holds is one more segment, the rest, so that it is like nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from ...common.unique_rows import unique_rows
from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from ...segments.lookup import HOLDS
from ...segments.segments import Segments
from ..checkpoint import State, draws_of, go_on_drawing, part_of, prefixed
from .batch import Contrast, identities
from .optimizer import RowAdam
from .settings import SagaSettings
from .step import contrast_step

_RARE = 3e-5  # share of the pixels; rarer sets of segments are rims
_MOST = 2048  # prototypes
_REST_BEYOND = 1.3  # scale of the rest, in units of the largest segment's scale
_LARGE, _LASTS = 0.35, 0.2  # a segment of this share of the cloud is a stage on the way to it if it stands out by less


@dataclass(frozen=True, eq=False)
class Prototypes:
    """P sets of segments that pixels show, out of K segments and the rest.

    Attributes:
        members: [P,K+1] bool, the last column the rest.
        bits: [P,W] uint64, the same packed, bit k for segment k.
        scales: [K+1] float32, rising.
        sizes: [P] float32, mean area of a prototype's segments, sampled pixels over all views (m_p of A.1).
    """

    members: np.ndarray
    bits: np.ndarray
    scales: np.ndarray
    sizes: np.ndarray


def prototypes(segments: Segments, rows: list[Contributions]) -> Prototypes:
    """The sets of segments that the pixels of all views show."""
    shown = [_at_pixels(segments, part) for part in rows]
    found = unique_rows(np.concatenate(shown))
    counts, members = found.counts, np.unpackbits(found.rows, axis=1, count=len(segments) + 1).astype(bool)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_MOST])
    kept = kept[counts[kept] >= _RARE * counts.sum()]
    members, counts = members[kept], counts[kept]
    areas = counts @ members
    sizes = (members @ areas) / np.maximum(members.sum(axis=1), 1)
    words = -(-members.shape[1] // 64)
    padded = np.zeros((len(members), words * 64), bool)
    padded[:, : members.shape[1]] = members
    bits = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
    rest = _REST_BEYOND * segments.scales[-1] if len(segments) else 1.0
    return Prototypes(members, bits, np.append(segments.scales, rest).astype(np.float32), sizes.astype(np.float32))


def worth_telling_apart(segments: Segments) -> np.ndarray:
    """[K] bool: the segments to train on, which are all but the large ones that the next merge swallows at once.

    Toward the end of the hierarchy things and ground join one by one. Such unions make every pair of pixels one that
    is alike at some scale, and the few pairs that part a thing from its neighbor drown among them.
    """
    kept = (segments.prominence >= _LASTS) | (segments.sizes() <= _LARGE * segments.count)
    return kept if kept.any() else np.ones(len(segments), bool)


def _at_pixels(segments: Segments, rows: Contributions) -> np.ndarray:
    """[Q,B] uint8, packed bits: the segments of every pixel that shows something, the rest where it is in none."""
    rows = rows.take(rows.alphas() >= SHOWN_ALPHA)
    held = segments.holding(rows)
    rest = 1 - held.max(axis=1, initial=0)
    inside = np.concatenate([held, rest[:, None]], axis=1) > HOLDS
    return np.packbits(inside[inside.any(axis=1)], axis=1)


class PrototypeTrainer:
    """Codes [K+1,D] and gate [2,D] with their optimizer.

    Args:
        found: the prototypes.
        quantiles: [Q] rising scales (scene units) at evenly spaced positions 0..1.
        settings: steps, pixels (here: prototypes a step, at most), scales, channels, rate, seed.
    """

    def __init__(self, found: Prototypes, quantiles: np.ndarray, settings: SagaSettings) -> None:
        self._found, self._quantiles, self._settings = found, quantiles, settings
        self._rng = np.random.default_rng(settings.seed)
        channels = settings.channels
        self.codes = 0.5 * self._rng.standard_normal((len(found.scales), channels)).astype(np.float32)
        slopes, offsets = self._rng.uniform(-6, 6, channels), self._rng.uniform(-1, 3, channels)
        self.gate = np.stack([slopes, offsets]).astype(np.float32)
        self._optimizers = RowAdam(self.codes), RowAdam(self.gate)
        self._members = found.members.astype(np.float32)

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
        """Codes, gate, moments and random state."""
        codes, gate = self._optimizers
        draws = {"draws": draws_of(self._rng)}
        return prefixed("codes", codes.state()) | prefixed("gate", gate.state()) | draws

    def resume(self, state: State) -> None:
        """Restore `state`. Raises ValueError."""
        go_on_drawing(self._rng, state["draws"])
        for name, optimizer in zip(("codes", "gate"), self._optimizers, strict=True):
            optimizer.resume(part_of(state, name))

    def _sample(self) -> tuple[Contrast, np.ndarray]:
        found, levels = self._found, self._settings.scales
        count = min(len(found.members), self._settings.pixels)
        chosen = self._rng.permutation(len(found.members))[:count]
        scales = ((np.arange(levels) + self._rng.random(levels)) / levels).astype(np.float32)
        in_units = np.interp(scales, np.linspace(0, 1, len(self._quantiles)), self._quantiles)
        vectors = identities(found.bits[chosen], found.scales, in_units)
        seed = int(self._rng.integers(1 << 31))
        return Contrast(vectors, scales, 1 / found.sizes[chosen], seed), chosen


def features_of(segments: Segments, codes: np.ndarray) -> np.ndarray:
    """[N,D] float32 unit vectors: of every Gaussian the sum of its segments' codes, or the rest's code.

    Args:
        segments: K segments.
        codes: [K+1,D], the rest's last.
    """
    members = sparse.csr_matrix(
        (np.ones(len(segments.ids), np.float32), segments.ids, segments.offsets), shape=(len(segments), segments.count)
    )
    features = np.asarray(members.T @ codes[:-1])
    features[np.bincount(segments.ids, minlength=segments.count) == 0] = codes[-1]
    return (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-8)).astype(np.float32)
