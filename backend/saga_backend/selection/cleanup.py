"""Selections made whole: specks dropped, the clicked part kept, small holes filled. Each step counts what it did."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.wire.messages import CleanUp

from ..common.neighbors import nearest

_NEIGHBORS = 10
_SPACING = 5  # the distance to the fifth neighbor is a Gaussian's spacing: one stray neighbor does not move it
_GAP = 2.5  # spacings; neighbors farther apart than this do not touch
_SPECK = 50  # Gaussians; smaller pieces are specks,
_SPECK_SHARE = 0.02  # if they also hold less than this share of the largest piece
_FAINT, _HUGE = 0.3, 6.0  # opacity; extent over the median extent of the selection
_HOLE = 200  # Gaussians; larger gaps are not filled,
_HOLE_SHARE = 0.05  # nor those that hold more than this share of the selection
_AROUND = 0.5  # length of the mean direction to a hole's rim, above which the rim lies on one side only


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """Which Gaussians touch: nearest neighbors that are no farther than is usual where they lie.

    Attributes:
        ids: [N,K] int32, touching neighbors first, then -1.
        means: [N,3] float32.
    """

    ids: np.ndarray
    means: np.ndarray


def neighborhood(cloud: GaussianCloud) -> Neighborhood:
    """The neighbors of every Gaussian of a cloud; transparent ones (deleted points) have none and are none."""
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
class Piece:
    """A selection in the making.

    Attributes:
        mask: [N] bool.
        wanted, refused: ids that were clicked, positive and negative.
    """

    mask: np.ndarray
    wanted: np.ndarray
    refused: np.ndarray


@dataclass(frozen=True, eq=False)
class Cleaning:
    """A cleaned selection.

    Attributes:
        mask: [N] bool.
        floaters, connected: Gaussians dropped; holes: added; all [N] bool.
    """

    mask: np.ndarray
    floaters: np.ndarray
    connected: np.ndarray
    holes: np.ndarray


def clean(piece: Piece, wish: CleanUp, cloud: GaussianCloud, near: Neighborhood) -> Cleaning:
    """Do what is wished, in the order of the fields of CleanUp (`visible` is another's: visibility.seen).

    What would leave nothing is not done: a selection of specks keeps the largest, and without a clicked Gaussian in
    the selection all parts are kept.
    """
    nothing = np.zeros(len(piece.mask), bool)
    mask, dropped, apart, filled = piece.mask, nothing, nothing, nothing
    pieces = components(mask, near) if wish.floaters or wish.connected else np.zeros(0, np.int32)
    if wish.floaters:
        dropped = _floaters(Piece(mask, piece.wanted, piece.refused), pieces, cloud)
        mask = mask & ~dropped
    if wish.connected:
        apart = _unclicked(Piece(mask, piece.wanted, piece.refused), pieces)
        mask = mask & ~apart
    if wish.holes:
        filled = holes(Piece(mask, piece.wanted, piece.refused), near)
        mask = mask | filled
    return Cleaning(mask, dropped, apart, filled)


def components(mask: np.ndarray, near: Neighborhood) -> np.ndarray:
    """[N] int32: number of the connected piece of every selected Gaussian, from 0 without gaps; -1 where not selected.

    Args:
        mask: [N] bool.
        near: who touches whom; one of two neighbors is enough.
    """
    members = np.flatnonzero(mask).astype(np.int32)
    roots = np.full(len(mask), -1, np.int32)
    roots[members] = members
    _union(members, near.ids, roots)
    out = np.full(len(mask), -1, np.int32)
    out[members] = np.unique(roots[members], return_inverse=True)[1]
    return out


@numba.njit(inline="always")
def _root(roots, i):
    while roots[i] != i:
        roots[i] = roots[roots[i]]
        i = roots[i]
    return i


@numba.njit(cache=True, nogil=True)
def _union(members, neighbors, roots):
    """Union-find: the smallest id of a piece becomes its root, and at the end that of all its members."""
    for i in members:
        for j in neighbors[i]:
            if j < 0:
                break
            if roots[j] < 0:
                continue
            a, b = _root(roots, i), _root(roots, j)
            if a < b:
                roots[b] = a
            elif b < a:
                roots[a] = b
    for i in members:
        roots[i] = _root(roots, i)


def _floaters(piece: Piece, pieces: np.ndarray, cloud: GaussianCloud) -> np.ndarray:
    """[N] bool: selected Gaussians of pieces that are specks and were not clicked, or huge and faint."""
    chosen = np.flatnonzero(piece.mask)
    if not len(chosen):
        return np.zeros(len(piece.mask), bool)
    sizes = np.bincount(pieces[chosen])
    speck = (sizes < _SPECK) & (sizes < _SPECK_SHARE * sizes.max())
    speck[pieces[piece.wanted][piece.mask[piece.wanted]]] = False
    extent = cloud.scales[chosen].max(axis=1)
    haze = (cloud.opacities[chosen] < _FAINT) & (extent > _HUGE * np.median(extent))
    out = np.zeros(len(piece.mask), bool)
    out[chosen[speck[pieces[chosen]] | haze]] = True
    return out


def _unclicked(piece: Piece, pieces: np.ndarray) -> np.ndarray:
    """[N] bool: selected Gaussians of pieces that hold none of the clicked ones."""
    clicked = pieces[piece.wanted[piece.mask[piece.wanted]]]
    if not len(clicked):
        return np.zeros(len(piece.mask), bool)
    return piece.mask & ~np.isin(pieces, clicked)


def holes(piece: Piece, near: Neighborhood) -> np.ndarray:
    """[N] bool: unselected Gaussians in small gaps that selected ones surround on all sides.

    A gap is everything unselected that one reaches by neighbors without crossing the selection. What stands on the
    selection, like a knob, is no gap: the selection lies on one side of it only. Nor is what was clicked away.
    """
    limit = int(min(_HOLE, _HOLE_SHARE * np.count_nonzero(piece.mask)))
    out = np.zeros(len(piece.mask), np.bool_)
    if limit:
        state = piece.mask.astype(np.int8)
        state[piece.refused[~piece.mask[piece.refused]]] = _OPEN
        _fill(np.flatnonzero(piece.mask).astype(np.int32), (near.ids, near.means), limit, state, out)
    return out


_SELECTED, _OPEN, _VISITED, _FREE = 1, 2, 3, 0


@numba.njit(cache=True, nogil=True)
def _fill(members, near, limit, state, out):
    """Search from every unselected neighbor of the selection; `state` remembers what is no gap."""
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
    """What is reached from a Gaussian without crossing the selection, and whether that is all within the limit."""
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
    """Whether the selected neighbors of a gap lie all around its middle."""
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
