"""Masks by level: the largest mask of a pixel is its coarse mask, the smallest is its fine mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...common.unique_rows import unique_rows
from ...masks.sampled import SampledMasks
from ...rasterizer.contributions import SHOWN_ALPHA, Contributions
from ...segments.lookup import MIN_WEIGHT_SHARE, default_choice
from ...segments.segments import Segments

_BLOCK = 65_536  # Gaussians per lookup of segments
_NEARLY_ALL = 0.75  # a contained segment with this share of a segment is the same object


@dataclass(frozen=True, eq=False)
class LevelView:
    """The sampled pixels of a view with visible Gaussians.

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
    """Prepare a view for sampling; None without Gaussians or masks in its pixels.

    The probability of a pixel is proportional to 1 / (pixels of its mask), averaged over the levels: every mask has the
    same chance. The pixels without a mask form one more mask (small with SAM; the whole ground with a segmenter of
    objects). Its chance is proportional to its number of pixels, up to the chance of all other masks together: with the
    chance of one mask, a ground of thousands of Gaussians would get hardly any sample.

    Args:
        rows: rows of the sampled pixels.
        labels: [L,P] int32, see LevelView.
    """
    visible = np.flatnonzero(rows.alphas() >= SHOWN_ALPHA)
    labels = labels[:, visible]
    if len(visible) < 2 or not labels.any():
        return None
    cumulative = np.cumsum(sum(_sampling_weights(level) for level in labels))
    return LevelView(rows.take(visible), labels, cumulative / cumulative[-1])


def _sampling_weights(labels: np.ndarray) -> np.ndarray:
    """[P] float64: sampling weights of the pixels for one level."""
    counts = np.bincount(labels)
    share = (counts > 0).astype(np.float64)
    others = share[1:].sum()
    share[0] *= max(1.0, others * min(1.0, counts[0] / max(counts[1:].sum(), 1)))
    return (share / np.maximum(counts, 1))[labels]


def levels_of_masks(masks: SampledMasks, levels: int) -> np.ndarray:
    """[L,P] int32, masks of one view at every level by area: 1 + mask number, 0 without a mask.

    With three levels, the middle level is the second largest mask of the pixel, or its smallest if it has only one.
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
        rank = total if level == levels - 1 else np.minimum(total, level + 1)
        index = np.argmax(covering >= rank[:, None], axis=1)
        out[level] = np.where(total > 0, by_area[index] + 1, 0)
    return out


class SegmentLevels:
    """The levels of pixels and Gaussians from the consensus segments.

    The coarse level has one segment per object. A segment is an object if it is the default choice of most of its
    Gaussians; the other Gaussians get the same segment, so an object stays whole even if a part is more prominent. A
    default choice that is nearly all of a larger segment counts for both. Otherwise the remainder of the larger
    segment, such as a rim, would be a separate object. The finest level is the most prominent segment inside the coarse
    one, or the smallest of equally prominent ones. With equal prominence everywhere, these are the largest and the
    smallest segment. A middle level is the segment between them that is nearest to their mean scale.

    Args:
        segments: K segments of N Gaussians.
        levels: L, number of levels.
    """

    def __init__(self, segments: Segments, levels: int) -> None:
        self._segments, self._levels = segments, levels
        self._is_object = np.zeros(len(segments), bool)
        sets = unique_rows(np.concatenate([self._segment_bits(_single_rows(block)) for block in self._blocks()]))
        inside = np.unpackbits(sets.rows, axis=1, count=len(segments)).astype(bool)
        defaults = np.array([default_choice(segments, np.flatnonzero(s)) if s.any() else -1 for s in inside])
        sizes = np.append(segments.sizes(), 0)  # the last entry is for no segment
        free = np.ones(len(inside), bool)
        for segment in reversed(range(len(segments))):
            members = free & inside[:, segment]
            agree = members & (defaults <= segment) & (sizes[defaults] > _NEARLY_ALL * sizes[segment])
            if (defaults[members] == segment).any() and 2 * sets.counts[agree].sum() > sets.counts[members].sum():
                self._is_object[segment], free[members] = True, False

    @property
    def count(self) -> int:
        """K, the number of segments."""
        return len(self._segments)

    def of_gaussians(self) -> np.ndarray:
        """[L,N] int32: the levels of every Gaussian, see `of`."""
        return np.concatenate([self.of(_single_rows(block)) for block in self._blocks()], axis=1)

    def of(self, rows: Contributions) -> np.ndarray:
        """[L,P] int32: 1 + the segment's number at every level, coarsest first; 0 without a segment."""
        sets = unique_rows(self._segment_bits(rows))
        chosen = np.zeros((len(sets.rows), self._levels), np.int32)
        for index, bits in enumerate(sets.rows):
            inside = np.flatnonzero(np.unpackbits(bits, count=len(self._segments)))
            if len(inside):
                chosen[index] = self._levels_of_set(inside)
        return np.ascontiguousarray(chosen[sets.inverse].T)

    def _segment_bits(self, rows: Contributions) -> np.ndarray:
        """[P,B] uint8: packed bits of the segments that contain each pixel."""
        return np.packbits(self._segments.weight_shares(rows) > MIN_WEIGHT_SHARE, axis=1)

    def _blocks(self) -> list[np.ndarray]:
        """Blocks of Gaussians whose table of segments fits into memory."""
        every = np.arange(self._segments.count, dtype=np.int32)
        return np.array_split(every, max(1, len(every) // _BLOCK))

    def _levels_of_set(self, inside: np.ndarray) -> list[int]:
        """1 + segment number at every level, from the segments `inside` (ascending scale) that contain a pixel."""
        segments, objects = self._segments, inside[self._is_object[inside]]
        coarse = int(objects[-1]) if len(objects) else default_choice(segments, inside)
        within = inside[inside <= coarse]
        fine = int(within[np.argmax(segments.prominence[within])])
        logs = np.log(np.maximum(segments.scales, 1e-12))
        between = within[within >= fine]
        targets = np.linspace(logs[coarse], logs[fine], self._levels)
        return [int(between[np.argmin(np.abs(logs[between] - target))]) + 1 for target in targets]


def _single_rows(ids: np.ndarray) -> Contributions:
    """Rows with one Gaussian each."""
    return Contributions(np.arange(len(ids) + 1), ids, np.ones(len(ids), np.float32))
