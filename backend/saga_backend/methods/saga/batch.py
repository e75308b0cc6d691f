"""The batch of a training step: pixels of one view, scales, and the mask identities of the pixels at every scale."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from ...masks.sampled import SampledMasks
from ...rasterizer.contributions import Contributions


@dataclass(frozen=True, eq=False)
class TrainingView:
    """The sampled pixels of a view, with their rows and masks.

    Attributes:
        rows: [P,N] sparse blending weights of the sampled pixels.
        masks: masks at the same pixels.
        covered: [C] int64, pixels in at least one mask; batches are drawn from these.
        sizes: [P] float32, mean area of the masks that cover a pixel (m_p of A.1), 0 without a mask.
    """

    rows: Contributions
    masks: SampledMasks
    covered: np.ndarray
    sizes: np.ndarray


def training_view(rows: Contributions, masks: SampledMasks) -> TrainingView | None:
    """Prepare a view for sampling; None if fewer than two pixels have a mask and a Gaussian."""
    members = masks.members()
    counts = members.sum(axis=1)
    sizes = (members @ masks.areas) / np.maximum(counts, 1)
    covered = np.flatnonzero((counts > 0) & (np.diff(rows.offsets) > 0))
    return TrainingView(rows, masks, covered, sizes.astype(np.float32)) if len(covered) > 1 else None


@dataclass(frozen=True, eq=False)
class Contrast:
    """Mask identities of P pixels at S scales.

    Attributes:
        identities: [S,P,W] uint64 bit vectors V(s, p) of Eq. 6.
        scales: [S] float32, 0..1.
        weights: [P] float32, 1 / m_p.
        seed: seed of the choice of consistent pairs.
    """

    identities: np.ndarray
    scales: np.ndarray
    weights: np.ndarray
    seed: int


@dataclass(frozen=True, eq=False)
class Batch(Contrast):
    """`Contrast` for pixels of one view, with their rows."""

    rows: Contributions


def sample(view: TrainingView, quantiles: np.ndarray, counts: tuple[int, int], rng: np.random.Generator) -> Batch:
    """Draw a batch.

    Args:
        view: the view to sample.
        quantiles: [Q] ascending mask scales (scene units) at evenly spaced quantiles 0..1.
        counts: (Np, Ns), pixels and scales.
        rng: random generator.
    """
    pixel_count, scale_count = counts
    pixels = rng.choice(view.covered, min(pixel_count, len(view.covered)), replace=False)
    # stratified: one sample in each of Ns equal parts
    scales = (np.arange(scale_count) + rng.random(scale_count)) / scale_count
    sizes = np.interp(scales, np.linspace(0, 1, len(quantiles)), quantiles)
    vectors = identities(view.masks.bits[pixels], view.masks.scales, sizes)
    seed = int(rng.integers(1 << 31))
    return Batch(vectors, scales.astype(np.float32), 1 / view.sizes[pixels], seed, view.rows.take(pixels))


def identities(bits: np.ndarray, mask_scales: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """[S,P,W] uint64 bit vectors V(s, p) of Eq. 6: all masks below the scale and the smallest mask above it.

    Args:
        bits: [P,W] uint64, bit m is set if mask m covers the pixel.
        mask_scales: [M] ascending 3D scales of the masks, scene units.
        scales: [S], scene units.
    """
    below = np.searchsorted(mask_scales, scales, side="left").astype(np.int64)
    out = np.empty((len(below), *bits.shape), np.uint64)
    _identities(bits, below, out)
    return out


@numba.njit(parallel=True, cache=True)
def _identities(bits, below, out):
    words = bits.shape[1]
    for p in numba.prange(len(bits)):
        for k in range(len(below)):
            pending = True  # until the smallest mask at or above the scale is found
            for w in range(words):
                word = bits[p, w]
                under = min(max(below[k] - 64 * w, 0), 64)
                low = ~np.uint64(0) if under == 64 else (np.uint64(1) << np.uint64(under)) - np.uint64(1)
                kept = word & low
                rest = word & ~low
                if pending and rest != 0:
                    kept |= rest & (~rest + np.uint64(1))  # its lowest bit
                    pending = False
                out[k, p, w] = kept
