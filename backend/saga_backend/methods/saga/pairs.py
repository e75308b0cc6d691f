"""The contrastive part of SAGA's loss over pixel pairs (Eq. 7 to 9 and A.1), on the CPU: value and gradient.

Let cos_k(i, j) be the similarity of pixels i and j at scale k, and R_k(i, j) 1 if they share a mask, else 0. A pair is
inconsistent (R changes with k), consistently positive or consistently negative. The loss of a scale is

    loss = sum over (in + some pos) of w (1 - 2 R) max(cos, 0) / number + the same over (in + some neg),

where "some" are |in| / 2 random pairs and all hard pairs (pos below 0.75, neg above 0.5). The total is the mean over
scales. torch_step.py has the same loss in tensor operations.
"""

from __future__ import annotations

import numba
import numpy as np

HARD_NEGATIVE = 0.5
HARD_POSITIVE = 0.75
_IN, _POSITIVE, _NEGATIVE = 0, 1, 2


def pair_weights(inverse_sizes: np.ndarray) -> tuple[float, float]:
    """(slope, offset) that map 1/(m_p1 m_p2) of all pairs p1 != p2 to [1, 10] (A.1).

    Args:
        inverse_sizes: [P] 1 / m_p.
    """
    if len(inverse_sizes) < 2:  # no pairs
        return 0.0, 1.0
    ordered = np.sort(inverse_sizes.astype(np.float64))
    low, high = ordered[0] * ordered[1], ordered[-1] * ordered[-2]
    slope = 9.0 / (high - low) if high > low * (1 + 1e-9) else 0.0
    return slope, 1.0 - slope * low


def correspondences(identities: np.ndarray) -> np.ndarray:
    """[P,P] uint8: bit k is set if two pixels share a mask at scale k (Eq. 7).

    Args:
        identities: [S,P,W] uint64, S <= 8.
    """
    out = np.empty((identities.shape[1],) * 2, np.uint8)
    _correspondences(np.ascontiguousarray(identities.transpose(1, 0, 2)), out)
    return out


def pair_loss(
    features: np.ndarray, shared: np.ndarray, inverse_sizes: np.ndarray, seed: int
) -> tuple[float, np.ndarray]:
    """The loss and its gradient.

    Args:
        features: [S,P,D] float32 unit vectors, gated at each scale.
        shared: [P,P] uint8 of `correspondences`.
        inverse_sizes: [P] float32.
        seed: seed of the choice of consistent pairs.

    Returns:
        The loss and d loss / d features [S,P,D].
    """
    levels, pixels, _ = features.shape
    cosines = np.matmul(features, features.transpose(0, 2, 1))
    full = np.uint8((1 << levels) - 1)
    kinds = _count_kinds(shared, full)
    half = 0.5 * kinds[_IN]
    chances = np.array([min(1.0, half / max(kinds[_POSITIVE], 1)), min(1.0, half / max(kinds[_NEGATIVE], 1))])
    limits = np.minimum(chances * 2.0**32, 2.0**32 - 1).astype(np.uint64)
    slope, offset = pair_weights(inverse_sizes)
    weighting = (inverse_sizes, np.float32(slope), np.float32(offset))
    choice = (full, limits, np.uint64(seed))
    counts = np.zeros((pixels, levels, 2), np.int64)
    _count_members(cosines, shared, choice, counts)
    shares = 1.0 / np.maximum(counts.sum(axis=0), 1) / levels
    losses = np.zeros(pixels)
    _coefficients(cosines, shared, choice, weighting, (shares.astype(np.float32), losses))
    return float(losses.sum()), np.matmul(cosines, features)


@numba.njit(inline="always")
def pair_hash(i, j, seed):
    """A 32-bit hash, as uint64, of an ordered pair and a seed (the finalizer of MurmurHash3).

    All operands are uint64, because numba converts mixed signed and unsigned integers to floating point.
    """
    h = np.uint64(i) * np.uint64(0x9E3779B1) ^ np.uint64(j) * np.uint64(0x85EBCA77) ^ np.uint64(seed)
    h &= np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(16)
    h = h * np.uint64(0x85EBCA6B) & np.uint64(0xFFFFFFFF)
    h ^= h >> np.uint64(13)
    h = h * np.uint64(0xC2B2AE35) & np.uint64(0xFFFFFFFF)
    return h ^ (h >> np.uint64(16))


@numba.njit(parallel=True, cache=True)
def _correspondences(identities, out):
    pixels, levels, words = identities.shape
    for i in numba.prange(pixels):
        out[i, i] = (1 << levels) - 1
        for j in range(i):
            bits = 0
            for k in range(levels):
                for w in range(words):
                    if identities[i, k, w] & identities[j, k, w]:
                        bits |= 1 << k
                        break
            out[i, j] = bits
            out[j, i] = bits


@numba.njit(parallel=True, cache=True)
def _count_kinds(shared, full):
    """Numbers of pairs i > j: inconsistent, positive at every scale, negative at every scale."""
    inconsistent, positive, negative = 0, 0, 0
    for i in numba.prange(len(shared)):
        for j in range(i):
            if shared[i, j] == full:
                positive += 1
            elif shared[i, j] == 0:
                negative += 1
            else:
                inconsistent += 1
    return inconsistent, positive, negative


@numba.njit(inline="always")
def _counts_in_sums(bits, full, chosen, cosine):
    """Whether a pair counts in the first (positive) and the second (negative) sum; chosen: random choice for both."""
    if bits == full:
        return chosen[0] or cosine < HARD_POSITIVE, False
    if bits == 0:
        return False, chosen[1] or cosine > HARD_NEGATIVE
    return True, True


@numba.njit(cache=True, nogil=True)
def _count_row(i, cosines, shared, choice, counts):
    full, limits, seed = choice
    for j in range(i):
        h = pair_hash(i, j, seed)
        chosen = (h < limits[0], h < limits[1])
        for k in range(len(cosines)):
            first, second = _counts_in_sums(shared[i, j], full, chosen, cosines[k, i, j])
            counts[i, k, 0] += first
            counts[i, k, 1] += second


@numba.njit(parallel=True, cache=True)
def _count_members(cosines, shared, choice, counts):
    for i in numba.prange(len(shared)):
        _count_row(i, cosines, shared, choice, counts)


@numba.njit(cache=True, nogil=True)
def _coefficient_row(i, cosines, shared, choice, weighting, out):
    full, limits, seed = choice
    inverse_sizes, slope, offset = weighting
    shares, losses = out
    for j in range(i):
        h = pair_hash(i, j, seed)
        chosen = (h < limits[0], h < limits[1])
        weight = slope * inverse_sizes[i] * inverse_sizes[j] + offset
        for k in range(len(cosines)):
            cosine = cosines[k, i, j]
            first, second = _counts_in_sums(shared[i, j], full, chosen, cosine)
            value = np.float32(0.0)
            if cosine > 0.0:
                sign = np.float32(1 - 2 * ((shared[i, j] >> k) & 1))
                value = sign * weight * (first * shares[k, 0] + second * shares[k, 1])
                losses[i] += value * cosine
            cosines[k, i, j] = value
            cosines[k, j, i] = value


@numba.njit(parallel=True, cache=True)
def _coefficients(cosines, shared, choice, weighting, out):
    """Replace cosines by d loss / d cosine in place, in both triangles, so that one product gives the gradient."""
    for i in numba.prange(len(shared)):
        for k in range(len(cosines)):
            cosines[k, i, i] = 0.0
        _coefficient_row(i, cosines, shared, choice, weighting, out)
