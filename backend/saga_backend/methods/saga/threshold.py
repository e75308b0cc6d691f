"""An adaptive threshold: the valley in a click's scores between similar Gaussians and the rest."""

from __future__ import annotations

import numba
import numpy as np

LOWEST, HIGHEST = 0.4, 0.95
"""Range of thresholds: lower ones would select other objects, higher ones would cut off the object's rim."""
_BINS = 200  # over -1..1
_BLUR = 1.5  # standard deviation in bins: removes noise and keeps the modes
_MIN_COUNT = 30  # minimum number of Gaussians on each side of the valley
_MIN_DEPTH = 3.0  # minimum ratio of the lower side to the valley


def valley(scores: np.ndarray, default: float = 0.7) -> float | None:
    """The score that separates the Gaussians similar to the click from the others.

    The depth of a bin is the ratio of the lower of the two peaks beside it to the bin itself. The valley is at the
    deepest bin between LOWEST and HIGHEST. Its floor has all adjacent bins of at least the square root of that depth.
    The result is the score of the floor that is nearest to the default threshold, so a default that cuts through no
    peak remains. (On three scenes, this lost at most 0.004 IoU against the fixed threshold; the middle of the floor
    lost up to 0.012.)

    Args:
        scores: [N] cosine similarities, -1..1.
        default: threshold without any knowledge of the scores.

    Returns:
        None without a clear valley: the scores decrease evenly, are all similar, or are too few.
    """
    counts = np.zeros(_BINS, np.int64)
    _histogram(np.ascontiguousarray(scores, dtype=np.float32), counts)
    density = _blur(counts)
    # The peaks beside each bin: the highest density below and above it.
    below, above = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    enough = (np.cumsum(counts) >= _MIN_COUNT) & (np.cumsum(counts[::-1])[::-1] >= _MIN_COUNT)
    peak = np.minimum(below, above)
    depth = np.where(enough & (peak > 0), peak / (density + 1.0), 0)  # + 1: an empty bin counts like one Gaussian
    centers = (np.arange(_BINS) + 0.5) * (2 / _BINS) - 1
    depth[(centers < LOWEST) | (centers > HIGHEST)] = 0
    deepest = depth.max()
    if deepest < _MIN_DEPTH:
        return None
    floor = depth >= max(_MIN_DEPTH, deepest**0.5)
    first = last = int(np.argmax(depth))
    while floor[first - 1]:
        first -= 1
    while floor[last + 1]:
        last += 1
    return float(np.clip(default, centers[first], centers[last]))


def _blur(counts: np.ndarray) -> np.ndarray:
    bins = np.arange(-6, 7)
    kernel = np.exp(-0.5 * (bins / _BLUR) ** 2)
    return np.convolve(counts, kernel / kernel.sum(), mode="same")


@numba.njit(cache=True, nogil=True)
def _histogram(scores, counts):
    bins = len(counts)
    for score in scores:
        if score >= -1.0:  # not NaN
            counts[min(bins - 1, int((score + 1.0) * 0.5 * bins))] += 1
