"""The index of text search: targets (sets of Gaussians) and CLIP vectors of their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .crops import THUMBNAIL
from .relevancy import mean_relevancy, relevancy

WAYS = ("votes", "clusters")
"""Masks of many views vote (SAGA), or every cluster is drawn alone (Click-Gaussian)."""


@dataclass(frozen=True, eq=False)
class TextIndex:
    """K targets in a cloud of `count` Gaussians, and P pictures of one target each.

    Attributes:
        way: one of WAYS.
        clip: identity of the CLIP weights.
        count: N.
        offsets: [K+1] int64; ids[offsets[k]:offsets[k+1]] are the Gaussians of target k, rising.
        ids: [E] int32.
        vectors: [P,D] float16, unit vectors of the pictures.
        target_of: [P] int32, the target of each picture's vote.
        thumbnails: [K,h,w,3] uint8, a picture of each target for people.
    """

    way: str
    clip: str
    count: int
    offsets: np.ndarray
    ids: np.ndarray
    vectors: np.ndarray
    target_of: np.ndarray
    thumbnails: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def members(self, target: int) -> np.ndarray:
        """The Gaussians of a target, int32."""
        return self.ids[self.offsets[target] : self.offsets[target + 1]]

    def mask(self, target: int) -> np.ndarray:
        """[N] bool: the Gaussians of a target."""
        out = np.zeros(self.count, bool)
        out[self.members(target)] = True
        return out

    def scores(self, texts: np.ndarray, canonical: np.ndarray) -> np.ndarray:
        """[T,K] float32, 0..1: the fit of each text to each target (SAGA Eq. 15).

        Args:
            texts: [T,D] unit vectors of the queries.
            canonical: [C,D] unit vectors of the canonical phrases.
        """
        vectors = self.vectors.astype(np.float32)
        return np.stack(
            [mean_relevancy(relevancy(vectors, text, canonical), self.target_of, len(self)) for text in texts]
        )


@dataclass(frozen=True, eq=False)
class Target:
    """A target of a new index: [N] bool or ids of its Gaussians, and its picture [h,w,3] uint8."""

    members: np.ndarray
    thumbnail: np.ndarray


def make_index(
    way: str, clip: str, count: int, targets: list[Target], vectors: np.ndarray, target_of: np.ndarray
) -> TextIndex:
    """Make an index from its targets.

    Args:
        way: one of WAYS.
        clip: identity of the weights.
        count: N Gaussians.
        targets: K targets.
        vectors: [P,D], of the pictures.
        target_of: [P], the target of each picture, -1 for none; pictures without a target are left out.
    """
    members = [np.flatnonzero(t.members) if t.members.dtype == bool else np.sort(t.members) for t in targets]
    offsets = np.concatenate([[0], np.cumsum([len(m) for m in members])]).astype(np.int64)
    ids = np.concatenate([*members, np.zeros(0, np.int32)]).astype(np.int32)
    voting = target_of >= 0
    pictures = np.stack([t.thumbnail for t in targets]) if targets else np.zeros((0, THUMBNAIL, THUMBNAIL, 3), np.uint8)
    return TextIndex(
        way, clip, count, offsets, ids, vectors[voting].astype(np.float16), target_of[voting].astype(np.int32), pictures
    )
