"""Support of each mask by the masks of other views: all pairs of masks of two views are compared."""

from __future__ import annotations

import numba
import numpy as np

from ...common.progress import Control
from .sample import Sample

SEES = 0.3  # minimum visible share of a mask's Gaussians for a view to count
_SEEDS = 0.4  # minimum IoU of two masks of the same object in different views; ragged rims weigh much in small masks
_STEPS = 20  # parts of the work; cancellation is checked between them


def supports(sample: Sample, control: Control) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support of every mask, and its most similar mask in every other view.

    A mask is lifted to its Gaussians (the share of their weight in its view that is inside the mask) and projected into
    the other view. The worse IoU of the two directions counts.

    Returns:
        support: [M] float32, sum of the best IoUs above _SEEDS over the views that see the mask's object, times their
            mean.
        twins: [M,V] int32, each view's most similar mask.
        likeness: [M,V] float32, its IoU; 0 in the mask's own view and in views that do not see the object.

    Raises:
        Cancelled: if the control was cancelled.
    """
    views, total = len(sample.first) - 1, len(sample.masses)
    seen, common, likeness = (np.zeros((views, total), np.float32) for _ in range(3))
    twins = np.zeros((views, total), np.int32)
    _project(sample, seen, common)
    # a view is compared with the later views; pairs of an early and a late view have equal work
    order = np.stack([np.arange(views), np.arange(views)[::-1]], axis=1).ravel()[:views]
    parts = np.array_split(order, max(1, min(_STEPS, views // (2 * numba.get_num_threads()))))
    for number, part in enumerate(parts):
        control.progress("comparing masks", number, len(parts))
        _compare(sample, part, (seen, common), (twins, likeness))
    own = sample.view_of, np.arange(total)
    sees = seen > SEES * seen[own]
    sees[own] = False
    likeness[~sees] = 0
    good = np.where(likeness > _SEEDS, likeness, 0).sum(axis=0)
    support = good * good / np.maximum(sees.sum(axis=0), 1)
    return support.astype(np.float32), twins.T, likeness.T


@numba.njit(parallel=True, cache=True)
def _project(sample, seen, common):
    """For every view and mask: weight of the lifted mask in the view, and weight of the mask's visible Gaussians."""
    for m in numba.prange(len(sample.masses)):
        _project_one(sample, m, seen, common)


@numba.njit(cache=True, nogil=True)
def _project_one(sample, m, seen, common):
    offsets, ids, inside = sample.mask_starts, sample.mask_ids, sample.mask_weights
    starts, views, shown = sample.shown_starts, sample.shown_by, sample.shown_weights
    lifted, visible = np.zeros(len(seen), np.float32), np.zeros(len(seen), np.float32)
    for k in range(offsets[m], offsets[m + 1]):
        share = _share(sample, m, k)
        for at in range(starts[ids[k]], starts[ids[k] + 1]):
            lifted[views[at]] += share * shown[at]
            visible[views[at]] += inside[k]
    for v in range(len(seen)):
        seen[v, m], common[v, m] = lifted[v], visible[v]


@numba.njit(inline="always")
def _share(sample, m, k):
    """Share of the weight of mask m's k-th Gaussian that is inside the mask, in the mask's view."""
    i, view, whole = sample.mask_ids[k], sample.view_of[m], np.float32(1e-9)
    for at in range(sample.shown_starts[i], sample.shown_starts[i + 1]):
        if sample.shown_by[at] == view:
            whole = max(sample.shown_weights[at], whole)
            break
    return sample.mask_weights[k] / whole


@numba.njit(parallel=True, cache=True)
def _compare(sample, views, looks, out):
    for at in numba.prange(len(views)):
        _compare_view(sample, views[at], looks, out)


@numba.njit(cache=True, nogil=True)
def _compare_view(sample, view, looks, out):
    """Compare the masks of a view with all masks of later views; no other thread writes these pairs of views."""
    later = sample.first[view + 1]
    both = np.zeros((len(sample.masses) - later, 2), np.float32)
    for m in range(sample.first[view], later):
        _meet(sample, m, later, both)
        _keep_best(sample, m, later, both, looks, out)


@numba.njit(cache=True, nogil=True)
def _meet(sample, m, later, both):
    """Weight of the lifted mask m inside each later mask (0), and of each lifted later mask inside m (1)."""
    offsets, masks, inside = sample.held_starts, sample.held_by, sample.held_weights
    both[:] = 0.0
    for k in range(sample.mask_starts[m], sample.mask_starts[m + 1]):
        i, weight, share = sample.mask_ids[k], sample.mask_weights[k], _share(sample, m, k)
        low, end = offsets[i], offsets[i + 1]
        high = end
        while low < high:  # the first of its masks from `later` on
            middle = (low + high) // 2
            if masks[middle] < later:
                low = middle + 1
            else:
                high = middle
        for e in range(low, end):
            a = masks[e] - later
            both[a, 0] += share * inside[e]
            both[a, 1] += sample.shares[e] * weight


@numba.njit(cache=True, nogil=True)
def _keep_best(sample, m, later, both, looks, out):
    seen, common = looks
    twins, likeness = out
    v = sample.view_of[m]
    for n in range(len(both)):
        forward, backward = both[n, 0], both[n, 1]
        if forward > 0 and backward > 0:
            a, u = later + n, sample.view_of[later + n]
            one = forward / max(common[v, a] + seen[u, m] - forward, np.float32(1e-9))
            two = backward / max(common[u, m] + seen[v, a] - backward, np.float32(1e-9))
            similarity = min(one, two)
            if similarity > likeness[v, a]:
                likeness[v, a], twins[v, a] = similarity, m
            if similarity > likeness[u, m]:
                likeness[u, m], twins[u, m] = similarity, a
