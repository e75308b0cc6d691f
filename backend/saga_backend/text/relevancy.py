"""How well a text fits pictures: LERF's relevancy (Kerr et al. 2023, section 3.4), and SAGA's mean of it (Eq. 15)."""

from __future__ import annotations

import numpy as np

CANONICAL = ("object", "things", "stuff", "texture")
"""LERF's phrases for any object; a picture matches a text only if it is closer to the text than to these."""
MATCHES = 0.5
"""With a relevancy below this, the text fits no better than a canonical phrase."""
_SHARPNESS = 10.0  # from LERF's code, not its formula: without it, all scores lie between 0.45 and 0.55


def relevancy(vectors: np.ndarray, text: np.ndarray, canonical: np.ndarray) -> np.ndarray:
    """[M] float32, 0..1: the minimum over the canonical phrases c of exp(v.t) / (exp(v.t) + exp(v.c)).

    Args:
        vectors: [M,D] unit vectors of pictures.
        text: [D] unit vector of the query.
        canonical: [C,D] unit vectors of the canonical phrases.
    """
    vectors = np.asarray(vectors, np.float32)
    lead = vectors @ text - (vectors @ canonical.T).max(axis=1)
    return (1 / (1 + np.exp(-_SHARPNESS * lead))).astype(np.float32)


def mean_relevancy(relevancies: np.ndarray, targets: np.ndarray, count: int) -> np.ndarray:
    """[T] float32: SAGA Eq. 15, the mean over the pictures that vote for a target; 0 without a vote.

    Args:
        relevancies: [M] of every picture.
        targets: [M] int, the target of each picture's vote, -1 for none.
        count: T.
    """
    voting = targets >= 0
    votes = np.bincount(targets[voting], minlength=count)
    total = np.bincount(targets[voting], relevancies[voting], minlength=count)
    return (total / np.maximum(votes, 1)).astype(np.float32)
