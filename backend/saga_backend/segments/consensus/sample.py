"""The incidence over a sample of Gaussians, indexed by mask and by Gaussian for the search."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from scipy import sparse

from .incidence import Incidence


class Sample(NamedTuple):
    """V views, M masks, S Gaussians, and E pairs of a Gaussian and a mask. Compiled functions accept it directly.

    Attributes:
        first: [V+1] int64, masks first[v] to first[v+1] are view v's; view_of [M] int32 is the view of each mask.
        masses: [M] float32, blending weight inside every mask.
        mask_starts, mask_ids, mask_weights: the Gaussians in every mask, [M+1] int64, [E] int32, and their weight
            in it, [E] float32.
        held_starts, held_by, held_weights: the transpose: the masks that contain every Gaussian, ascending.
        shares: [E] float32, in that order: the share of the Gaussian's weight in the mask's view that is inside.
        shown_starts, shown_by, shown_weights: the views that show every Gaussian, ascending, and its weight in them.
    """

    first: np.ndarray
    view_of: np.ndarray
    masses: np.ndarray
    mask_starts: np.ndarray
    mask_ids: np.ndarray
    mask_weights: np.ndarray
    held_starts: np.ndarray
    held_by: np.ndarray
    held_weights: np.ndarray
    shares: np.ndarray
    shown_starts: np.ndarray
    shown_by: np.ndarray
    shown_weights: np.ndarray


def sample_of(incidence: Incidence, ids: np.ndarray) -> Sample:
    """The incidence over the Gaussians `ids` [S], renumbered in that order."""
    place = np.full(incidence.inside.shape[1], -1, np.int32)
    place[ids] = np.arange(len(ids), dtype=np.int32)
    in_masks = _columns(incidence.inside, place)
    shown = _transposed(_columns(incidence.shown, place), len(ids))
    held = _transposed(in_masks, len(ids))
    view_of = incidence.view_of.astype(np.int32)
    shares = np.empty(len(held[1]), np.float32)
    _fill_shares(held, shown, view_of, shares)
    sums = np.add.reduceat(np.append(in_masks[2], np.float32(0)), in_masks[0][:-1]) * (np.diff(in_masks[0]) > 0)
    return Sample(incidence.first, view_of, sums.astype(np.float32), *in_masks, *held, shares, *shown)


def _columns(matrix: sparse.csr_matrix, place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns of a CSR matrix with a new index >= 0 in `place`, as offsets, new indices and values."""
    offsets = np.zeros(matrix.shape[0] + 1, np.int64)
    _count_columns(matrix.indptr, matrix.indices, place, offsets)
    np.cumsum(offsets, out=offsets)
    ids, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _take_columns((matrix.indptr, matrix.indices, matrix.data), place, (offsets, ids, values))
    return offsets, ids, values


def _transposed(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The columns of a sparse matrix given by rows, with ascending row numbers."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows[1], minlength=columns))]).astype(np.int64)
    ids, values = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.float32)
    _turn(rows, offsets[:-1].copy(), ids, values)
    return offsets, ids, values


@numba.njit(cache=True, nogil=True)
def _count_columns(offsets, ids, place, out):
    for row in range(len(offsets) - 1):
        count = 0
        for k in range(offsets[row], offsets[row + 1]):
            count += place[ids[k]] >= 0
        out[row + 1] = count


@numba.njit(cache=True, nogil=True)
def _take_columns(matrix, place, out):
    offsets, ids, values = matrix
    starts, places, selected = out
    for row in range(len(offsets) - 1):
        cursor = starts[row]
        for k in range(offsets[row], offsets[row + 1]):
            if place[ids[k]] >= 0:
                places[cursor], selected[cursor] = place[ids[k]], values[k]
                cursor += 1


@numba.njit(cache=True, nogil=True)
def _turn(rows, cursor, ids, values):
    offsets, columns, data = rows
    for row in range(len(offsets) - 1):
        for k in range(offsets[row], offsets[row + 1]):
            at = cursor[columns[k]]
            ids[at], values[at] = row, data[k]
            cursor[columns[k]] = at + 1


@numba.njit(cache=True, nogil=True)
def _fill_shares(held, shown, view_of, shares):
    for i in range(len(held[0]) - 1):
        at, end = shown[0][i], shown[0][i + 1]
        for k in range(held[0][i], held[0][i + 1]):
            view = view_of[held[1][k]]
            while at < end and shown[1][at] < view:  # both lists ascend
                at += 1
            weight = shown[2][at] if at < end and shown[1][at] == view else np.float32(0.0)
            shares[k] = held[2][k] / max(weight, np.float32(1e-9))
