"""Masks by level: the largest mask of a pixel is its coarse one, the smallest its fine one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...common.unique_rows import unique_rows
from ...masks.sampled import SampledMasks
from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from ...segments.lookup import HOLDS, default_choice
from ...segments.segments import Segments

_BLOCK = 65_536  # Gaussians per lookup of segments
_NEARLY_ALL = 0.75  # a contained segment with this share of a segment is the same object


@dataclass(frozen=True, eq=False)
class LevelView:
    """The sampled pixels of a view that show a Gaussian.

    Attributes:
        rows: [P,N] sparse blending weights.
        labels: [L,P] int32, mask of every pixel at every level, coarsest first; 0 without a mask.
        cumulative: [P] float64, cumulative sampling probability.
    """

    rows: Contributions
    labels: np.ndarray
    cumulative: np.ndarray

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Contributions, np.ndarray]:
        """Rows and labels [L,count] of pixels drawn by importance, with replacement."""
        chosen = np.searchsorted(self.cumulative, rng.random(count), side="right").clip(max=len(self.cumulative) - 1)
        return self.rows.take(chosen), self.labels[:, chosen]


def level_view(rows: Contributions, labels: np.ndarray) -> LevelView | None:
    """A view prepared for sampling; None without Gaussians or masks in its pixels.

    A pixel's chance goes with 1 / (pixels of its mask), the mean over the levels: every mask is sampled alike. What no
    mask covers is taken for one more mask (SAM leaves little, a segmenter of things the whole ground), and is sampled
    by its pixels, at most as often as all others together: at one mask's share a ground of thousands of Gaussians would
    hardly be met.

    Args:
        rows: of the sampled pixels.
        labels: [L,P] int32 as in LevelView.
    """
    shown = np.flatnonzero(rows.alphas() >= SHOWN_ALPHA)
    labels = labels[:, shown]
    if len(shown) < 2 or not labels.any():
        return None
    cumulative = np.cumsum(sum(_chance(level) for level in labels))
    return LevelView(rows.take(shown), labels, cumulative / cumulative[-1])


def _chance(labels: np.ndarray) -> np.ndarray:
    """[P] float64: sampling weights of the pixels for one level."""
    counts = np.bincount(labels)
    share = (counts > 0).astype(np.float64)
    others = share[1:].sum()
    share[0] *= max(1.0, others * min(1.0, counts[0] / max(counts[1:].sum(), 1)))
    return (share / np.maximum(counts, 1))[labels]


def levels_of_masks(masks: SampledMasks, levels: int) -> np.ndarray:
    """[L,P] int32 from the masks of one view, by area: 1 + the mask's number, 0 without a mask.

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


class SegmentLevels:
    """The levels of pixels and Gaussians from the consensus segments.

    Coarse is the segment that a click alone would mean: for most of what it holds, so that a thing stays whole
    where a part of it stands out more. Who means a segment that is nearly all of a larger one counts for both: else
    the rest of the larger, a rim or a remnant, would be a thing of its own. The last level is the one within it
    that stands out most, of equal ones the smallest. Where all stand out alike these are the largest and the
    smallest. A middle level is the segment between them that is nearest to their mean scale.

    Args:
        segments: K segments of N Gaussians.
        levels: L.
    """

    def __init__(self, segments: Segments, levels: int) -> None:
        self._segments, self._levels = segments, levels
        self._things = np.zeros(len(segments), bool)
        sets = unique_rows(np.concatenate([self._held(_one_each(block)) for block in self._blocks()]))
        inside = np.unpackbits(sets.rows, axis=1, count=len(segments)).astype(bool)
        meant = np.array([default_choice(segments, np.flatnonzero(s)) if s.any() else -1 for s in inside])
        sizes = np.append(segments.sizes(), 0)  # the last: of none
        free = np.ones(len(inside), bool)
        for segment in reversed(range(len(segments))):
            here = free & inside[:, segment]
            agree = here & (meant <= segment) & (sizes[meant] > _NEARLY_ALL * sizes[segment])
            if (meant[here] == segment).any() and 2 * sets.counts[agree].sum() > sets.counts[here].sum():
                self._things[segment], free[here] = True, False

    @property
    def count(self) -> int:
        """K, the number of segments."""
        return len(self._segments)

    def of_gaussians(self) -> np.ndarray:
        """[L,N] int32 as `of`."""
        return np.concatenate([self.of(_one_each(block)) for block in self._blocks()], axis=1)

    def of(self, rows: Contributions) -> np.ndarray:
        """[L,P] int32: 1 + the segment's number at every level, coarsest first; 0 without a segment."""
        sets = unique_rows(self._held(rows))
        chosen = np.zeros((len(sets.rows), self._levels), np.int32)
        for index, bits in enumerate(sets.rows):
            inside = np.flatnonzero(np.unpackbits(bits, count=len(self._segments)))
            if len(inside):
                chosen[index] = self._of_set(inside)
        return np.ascontiguousarray(chosen[sets.inverse].T)

    def _held(self, rows: Contributions) -> np.ndarray:
        """[P,B] uint8: packed bits of the segments that contain each pixel."""
        return np.packbits(self._segments.holding(rows) > HOLDS, axis=1)

    def _blocks(self) -> list[np.ndarray]:
        """Blocks of Gaussians whose table of segments fits into memory."""
        every = np.arange(self._segments.count, dtype=np.int32)
        return np.array_split(every, max(1, len(every) // _BLOCK))

    def _of_set(self, inside: np.ndarray) -> list[int]:
        """1 + segment number at every level, from the segments `inside` (ascending scale) that contain a pixel."""
        segments, things = self._segments, inside[self._things[inside]]
        coarse = int(things[-1]) if len(things) else default_choice(segments, inside)
        within = inside[inside <= coarse]
        fine = int(within[np.argmax(segments.prominence[within])])
        logs = np.log(np.maximum(segments.scales, 1e-12))
        between = within[within >= fine]
        wanted = np.linspace(logs[coarse], logs[fine], self._levels)
        return [int(between[np.argmin(np.abs(logs[between] - scale))]) + 1 for scale in wanted]


def _one_each(ids: np.ndarray) -> Contributions:
    """Rows of pixels that show one Gaussian each."""
    return Contributions(np.arange(len(ids) + 1), ids, np.ones(len(ids), np.float32))
