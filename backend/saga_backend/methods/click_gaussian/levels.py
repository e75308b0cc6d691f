"""Masks of a few levels: of all masks that cover a pixel the largest is its coarse one, the smallest its fine one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...distinct import distinct
from ...masks.pool import PoolMasks
from ...rows import SHOWN_ALPHA, Rows
from ...segment_query import HOLDS, stand_out
from ...segment_set import Segments


@dataclass(frozen=True, eq=False)
class LevelView:
    """The pixels of a view's pool that show something.

    Attributes:
        rows: [P,N] sparse blending weights.
        labels: [L,P] int32, the mask of every pixel at every level, coarsest first; 0 where no mask covers it.
        heaped: [P] float64, running sum of the chance to be sampled, 1 at the end.
    """

    rows: Rows
    labels: np.ndarray
    heaped: np.ndarray

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Rows, np.ndarray]:
        """Rows and labels [L,count] of pixels drawn by importance, with replacement."""
        chosen = np.searchsorted(self.heaped, rng.random(count), side="right").clip(max=len(self.heaped) - 1)
        return self.rows.take(chosen), self.labels[:, chosen]


def level_view(rows: Rows, labels: np.ndarray) -> LevelView | None:
    """A view ready for sampling; None if it shows nothing or no mask covers what it shows.

    A pixel's chance goes with 1 / (pixels of its mask), the mean over the levels: every mask is sampled alike. What no
    mask covers is taken for one more mask (SAM leaves little, a segmenter of things the whole ground), and is sampled
    as often as all others together: at one mask's share a ground of thousands of Gaussians would hardly be met.

    Args:
        rows: of the pool's pixels.
        labels: [L,P] int32 as in LevelView.
    """
    shown = np.flatnonzero(rows.alphas() >= SHOWN_ALPHA)
    labels = labels[:, shown]
    if len(shown) < 2 or not labels.any():
        return None
    heaped = np.cumsum(sum(_chance(level) for level in labels))
    return LevelView(rows.take(shown), labels, heaped / heaped[-1])


def _chance(labels: np.ndarray) -> np.ndarray:
    """[P] float64: of the pixels of one level."""
    counts = np.bincount(labels)
    share = (counts > 0).astype(np.float64)
    share[0] *= max(1.0, share[1:].sum())
    return (share / np.maximum(counts, 1))[labels]


def levels_of_masks(masks: PoolMasks, levels: int) -> np.ndarray:
    """[L,P] int32 from the masks of one view, by area: 1 + the mask's number, 0 where none covers a pixel.

    With three levels the middle one is the second largest mask that covers the pixel; the smallest where there is none.
    """
    members = masks.members()
    if not members.shape[1]:
        return np.zeros((levels, len(members)), np.int32)
    by_area = np.argsort(-masks.areas, kind="stable")
    ranked = members[:, by_area]
    covering = np.cumsum(ranked, axis=1)
    total = covering[:, -1]
    out = np.zeros((levels, len(members)), np.int32)
    for level in range(levels):
        wanted = total if level == levels - 1 else np.minimum(total, level + 1)
        place = np.argmax(covering >= wanted[:, None], axis=1)
        out[level] = np.where(total > 0, by_area[place] + 1, 0)
    return out


def levels_of_segments(segments: Segments, rows: Rows, levels: int) -> np.ndarray:
    """[L,P] int32 from segments: 1 + the segment's number, 0 where none holds the pixel.

    Coarse is the segment that a click alone would mean; the last level the one within it that stands out most, of equal
    ones the smallest. Where all stand out alike these are the largest and the smallest. A middle level is the segment
    between them that is nearest to their mean scale.
    """
    held = segments.holding(rows) > HOLDS
    sets = distinct(np.packbits(held, axis=1))
    chosen = np.zeros((len(sets.rows), levels), np.int32)
    for index, bits in enumerate(sets.rows):
        inside = np.flatnonzero(np.unpackbits(bits, count=len(segments)))
        if len(inside):
            chosen[index] = _of_set(segments, inside, levels)
    return np.ascontiguousarray(chosen[sets.which].T)


def _of_set(segments: Segments, inside: np.ndarray, levels: int) -> list[int]:
    """Numbers + 1 of every level, of the segments `inside` (rising by scale) that hold a pixel."""
    coarse = stand_out(segments, inside)
    within = inside[inside <= coarse]
    fine = int(within[np.argmax(segments.standing[within])])
    logs = np.log(np.maximum(segments.scales, 1e-12))
    between = within[within >= fine]
    wanted = np.linspace(logs[coarse], logs[fine], levels)
    return [int(between[np.argmin(np.abs(logs[between] - scale))]) + 1 for scale in wanted]
