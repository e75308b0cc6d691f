"""Merging of clusters of the same object: most masks contain both, and their features are similar.

HDBSCAN finds clusters of the mean features of masks. An object has several clusters if its masks are often cut or
merged with others. Similar features alone do not prove that two clusters are one object: different parts with many
missing masks are as similar. The proof is the share of masks that contain both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from .guidance import nearest_cluster
from .levels import LevelView
from .model import LIKE
from .settings import ClickSettings

_MIN_SHARED = 0.5  # minimum share of pixel pairs in one mask for a merge


def merge_clusters(
    clusters: np.ndarray, views: Iterable[tuple[np.ndarray, np.ndarray]], min_cosine: float = LIKE
) -> np.ndarray:
    """Merge the clusters of one level that belong to the same object; returns unit vectors [J,D] float32.

    Args:
        clusters: [C,D] float32 unit vectors.
        views: features [P,D] and masks [P] of the pixels of every view; masks from 1, 0 for none.
        min_cosine: clusters with a smaller or equal cosine are never merged.
    """
    shared, pairs, pixels = _count_pairs(clusters, views)
    centers, remaining = clusters.astype(np.float64), np.ones(len(clusters), bool)
    while True:
        share = np.where(pairs > 0, shared / np.maximum(pairs, 1), 0) * (centers @ centers.T > min_cosine)
        share[np.diag_indices(len(share))] = share[~remaining] = share[:, ~remaining] = 0
        best = np.where(share == share.max(initial=0), pairs, -1)  # among equal shares, the one with the most pairs
        a, b = np.unravel_index(best.argmax(), share.shape)
        if share[a, b] <= _MIN_SHARED:
            return centers[remaining].astype(np.float32)
        center = pixels[a] * centers[a] + pixels[b] * centers[b]
        centers[a], pixels[a] = center / np.linalg.norm(center), pixels[a] + pixels[b]
        remaining[b] = False
        for table in (shared, pairs):  # pixel pairs add up
            table[a] += table[b]
            table[:, a] += table[:, b]


def _count_pairs(
    clusters: np.ndarray, views: Iterable[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count the pixels in masks: [C,C] pairs of two clusters in one mask, [C,C] pairs in one view, and [C] pixels."""
    shared, pairs, pixels = (np.zeros((len(clusters),) * n) for n in (2, 2, 1))
    for features, masks in views:
        covered = masks > 0
        labels, _ = nearest_cluster(features[covered], clusters)
        table = np.zeros((masks.max(initial=0) + 1, len(clusters)))
        np.add.at(table, (masks[covered], labels), 1)
        in_view = table.sum(axis=0)
        shared += table.T @ table
        pairs += np.outer(in_view, in_view)
        pixels += in_view
    return shared, pairs, pixels


def merge_levels(
    features: np.ndarray, clusters: list[np.ndarray], views: Sequence[LevelView], settings: ClickSettings
) -> list[np.ndarray]:
    """Merge the clusters of every level; `guidance.global_clusters` has the same arguments and finds the clusters."""
    out = []
    for level, centers in enumerate(clusters):
        span = settings.span(level)
        # One view at a time, because the pixels of all views would take hundreds of megabytes.
        out.append(merge_clusters(centers, ((v.rows.blend(features)[:, span], v.labels[level]) for v in views)))
    return out
