"""Clean-up of selections: drop specks, keep the clicked part, fill small holes. Each step counts its changes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import CleanUp

from ..common.neighbors import nearest
from ..common.union_find import find

_NEIGHBORS = 10
_SPACING = 5  # the distance to the fifth neighbor is a Gaussian's spacing: robust against one stray neighbor
_GAP = 2.5  # spacings; neighbors farther apart than this do not touch
_SPECK = 50  # Gaussians; smaller pieces are specks,
_SPECK_SHARE = 0.02  # if they also hold less than this share of the largest piece
_FAINT, _HUGE = 0.3, 6.0  # opacity; extent over the median extent of the selection
_HOLE = 200  # Gaussians; larger gaps are not filled,
_HOLE_SHARE = 0.05  # nor gaps with more than this share of the selection
_AROUND = 0.5  # length of the mean direction to a hole's rim; above it, the rim lies on one side only


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Which Gaussians touch: nearest neighbors within the local spacing.

    Attributes:
        ids: [N,K] int32, touching neighbors first, then -1.
        means: [N,3] float32.
    """

    ids: np.ndarray
    means: np.ndarray


def neighborhood(cloud: GaussianCloud) -> Neighborhood:
    """The neighbors of every Gaussian of a cloud. Transparent Gaussians (deleted points) are left out."""
    here = np.flatnonzero(cloud.opacities > 0)
    ids = np.full((len(cloud), _NEIGHBORS), -1, np.int32)
    if len(here) > 1:
        found, distances = nearest(cloud.means[here], min(_NEIGHBORS + 1, len(here)))
        spacing = distances[:, min(_SPACING, found.shape[1] - 1)]
        touching = np.full((len(here), _NEIGHBORS), -1, np.int32)
        _touching(found, distances, spacing, touching)
        ids[here] = np.where(touching < 0, -1, here[touching])
    return Neighborhood(ids, cloud.means)


@numba.njit(parallel=True, cache=True)
def _touching(found, distances, spacing, out):
    for i in numba.prange(len(found)):
        count = 0
        for k in range(found.shape[1]):
            j = found[i, k]
            if j != i and distances[i, k] <= _GAP * np.sqrt(spacing[i] * spacing[j]):
                if count < out.shape[1]:
                    out[i, count] = j
                count += 1


@dataclass(frozen=True, eq=False)
class ClickedMask:
    """A selection with the Gaussians of its clicks.

    Attributes:
        mask: [N] bool.
        positive_ids, negative_ids: ids under the positive and the negative clicks.
    """

    mask: np.ndarray
    positive_ids: np.ndarray
    negative_ids: np.ndarray


@dataclass(frozen=True, eq=False)
class CleanUpResult:
    """A selection after the clean-up.

    Attributes:
        mask: [N] bool.
        floaters, connected: Gaussians dropped; holes: added; all [N] bool.
    """

    mask: np.ndarray
    floaters: np.ndarray
    connected: np.ndarray
    holes: np.ndarray


def clean(selection: ClickedMask, settings: CleanUp, cloud: GaussianCloud, neighbors: Neighborhood) -> CleanUpResult:
    """Apply the steps of CleanUp in the order of its fields (`visible` is the job of visibility.visible_points).

    No step empties a selection: a selection of specks keeps the largest one, and a selection without a clicked
    Gaussian keeps all its parts.
    """
    nothing = np.zeros(len(selection.mask), bool)
    mask, dropped, apart, filled = selection.mask, nothing, nothing, nothing
    pieces = components(mask, neighbors) if settings.floaters or settings.connected else np.zeros(0, np.int32)
    if settings.floaters:
        dropped = _floaters(replace(selection, mask=mask), pieces, cloud)
        mask = mask & ~dropped
    if settings.connected:
        apart = _unclicked(replace(selection, mask=mask), pieces)
        mask = mask & ~apart
    if settings.holes:
        filled = holes(replace(selection, mask=mask), neighbors)
        mask = mask | filled
    return CleanUpResult(mask, dropped, apart, filled)


def components(mask: np.ndarray, neighbors: Neighborhood) -> np.ndarray:
    """[N] int32: connected piece of every selected Gaussian, consecutive numbers from 0; -1 outside the selection.

    Args:
        mask: [N] bool.
        neighbors: a link in one direction connects both Gaussians.
    """
    members = np.flatnonzero(mask).astype(np.int32)
    parent = np.full(len(mask), -1, np.int32)
    parent[members] = members
    _connect(members, neighbors.ids, parent)
    out = np.full(len(mask), -1, np.int32)
    out[members] = np.unique(parent[members], return_inverse=True)[1]
    return out


@numba.njit(cache=True, nogil=True)
def _connect(members, neighbors, parent):
    """Join linked members; the smallest id of a piece becomes the parent of all its members."""
    for i in members:
        for j in neighbors[i]:
            if j < 0:
                break
            if parent[j] < 0:
                continue
            a, b = find(parent, i), find(parent, j)
            if a < b:
                parent[b] = a
            elif b < a:
                parent[a] = b
    for i in members:
        parent[i] = find(parent, i)


def _floaters(selection: ClickedMask, pieces: np.ndarray, cloud: GaussianCloud) -> np.ndarray:
    """[N] bool: selected Gaussians of specks without a click, and huge faint ones."""
    chosen = np.flatnonzero(selection.mask)
    if not len(chosen):
        return np.zeros(len(selection.mask), bool)
    sizes = np.bincount(pieces[chosen])
    speck = (sizes < _SPECK) & (sizes < _SPECK_SHARE * sizes.max())
    speck[pieces[selection.positive_ids][selection.mask[selection.positive_ids]]] = False
    extent = cloud.scales[chosen].max(axis=1)
    haze = (cloud.opacities[chosen] < _FAINT) & (extent > _HUGE * np.median(extent))
    out = np.zeros(len(selection.mask), bool)
    out[chosen[speck[pieces[chosen]] | haze]] = True
    return out


def _unclicked(selection: ClickedMask, pieces: np.ndarray) -> np.ndarray:
    """[N] bool: selected Gaussians of pieces without a click."""
    clicked = pieces[selection.positive_ids[selection.mask[selection.positive_ids]]]
    if not len(clicked):
        return np.zeros(len(selection.mask), bool)
    return selection.mask & ~np.isin(pieces, clicked)


def holes(selection: ClickedMask, neighbors: Neighborhood) -> np.ndarray:
    """[N] bool: unselected Gaussians in small gaps that the selection surrounds on all sides.

    A gap is a connected set of unselected Gaussians. A knob on the selection is no gap, because the selection lies on
    one side of it only. Gaussians of negative clicks are no gap either.
    """
    limit = int(min(_HOLE, _HOLE_SHARE * np.count_nonzero(selection.mask)))
    out = np.zeros(len(selection.mask), np.bool_)
    if limit:
        state = selection.mask.astype(np.int8)
        state[selection.negative_ids[~selection.mask[selection.negative_ids]]] = _OPEN
        _fill(np.flatnonzero(selection.mask).astype(np.int32), (neighbors.ids, neighbors.means), limit, state, out)
    return out


_SELECTED, _OPEN, _VISITED, _FREE = 1, 2, 3, 0


@numba.njit(cache=True, nogil=True)
def _fill(members, near, limit, state, out):
    """Search from every unselected neighbor of the selection; `state` remembers the Gaussians of no gap."""
    neighbors = near[0]
    queue = np.empty(limit + 1, np.int32)
    for i in members:
        for start in neighbors[i]:
            if start < 0:
                break
            if state[start] != _FREE:
                continue
            count, closed = _search(start, neighbors, state, queue)
            closed = closed and _surrounded(queue[:count], near, state)
            for k in range(count):
                state[queue[k]] = _SELECTED if closed else _OPEN
                out[queue[k]] = closed


@numba.njit(cache=True, nogil=True)
def _search(start, neighbors, state, queue):
    """Flood from a Gaussian up to the selection; returns the count, and whether the gap is closed within the limit."""
    queue[0], count, at = start, 1, 0
    state[start] = _VISITED
    while at < count:
        for j in neighbors[queue[at]]:
            if j < 0:
                break
            if state[j] == _OPEN:
                return count, False
            if state[j] == _FREE:
                if count == len(queue) - 1:
                    return count, False
                state[j] = _VISITED
                queue[count] = j
                count += 1
        at += 1
    return count, True


@numba.njit(cache=True, nogil=True)
def _surrounded(gap, near, state):
    """Whether the selected neighbors of a gap lie all around its center."""
    neighbors, means = near
    middle, direction, rim = np.zeros(3), np.zeros(3), 0
    for i in gap:
        middle += means[i]
    middle /= len(gap)
    for i in gap:
        for j in neighbors[i]:
            if j < 0:
                break
            if state[j] == _SELECTED:
                away = means[j] - middle
                direction += away / max(np.sqrt((away**2).sum()), 1e-12)
                rim += 1
    return rim > 0 and np.sqrt((direction**2).sum()) <= _AROUND * rim
