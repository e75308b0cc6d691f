"""Toy scenes of things in a row with damaged masks, for votes and consensus."""

from __future__ import annotations

import numpy as np

from saga_backend.masks.sampled import SampledMasks
from saga_backend.rasterizer.contributions import Contributions
from saga_backend.segments.consensus.incidence import IncidenceBuilder
from tests.helpers.twins import bool_to_bits, dense


def sampled_masks(members: np.ndarray, scales: np.ndarray) -> SampledMasks:
    """Masks [P,M] of rising scales [M]."""
    return SampledMasks(bool_to_bits(members), scales.astype(np.float32), members.sum(axis=0).astype(np.float32))


class Toy:
    """Things in a row, each of two parts, seen by views that each miss a stretch of them; masks with faults.

    Attributes:
        truth: sets [N] bool, the things and from `parts_at` on the parts.
        incidence, inside, shown: the masks, and the same as dense float64.
    """

    parts_at = 4

    def __init__(self, rng, views: int, dropped=0.25, merged=0.1, split=0.1, ragged=0.05) -> None:
        self.rng, self.count, self.faults = rng, 160, (dropped, merged, split, ragged)
        thing, part = np.arange(160) // 40, np.arange(160) // 20
        self.truth = [thing == k for k in range(4)] + [part == k for k in range(8)]
        self.knob = np.arange(160) >= 160 - 6  # tiny, and never damaged: every view has a mask that small
        self.places = rng.normal(size=(160, 2))  # within their thing, for cutting it in two at any angle
        builder, inside, shown = IncidenceBuilder(160), [np.zeros((0, 160))], []
        for _ in range(views):
            rows, masks = self._view()
            builder.add(rows, masks)
            matrix = dense(rows, 160)
            inside.append(masks.members().T.astype(float) @ matrix)
            shown.append(matrix.sum(axis=0))
        self.incidence, self.inside, self.shown = builder.build(), np.concatenate(inside), np.stack(shown)

    def _view(self) -> tuple[Contributions, SampledMasks]:
        rng = self.rng
        hidden = (np.arange(160) - rng.integers(160)) % 160 < 30
        main = np.repeat(np.flatnonzero(~hidden), 3)  # three pixels a Gaussian
        beside = np.clip(main + rng.choice([-1, 1], len(main)), 0, 159)
        ids = np.stack([main, beside], axis=1).ravel().astype(np.int32)
        weights = np.stack([rng.uniform(0.6, 0.9, len(main)), np.full(len(main), 0.08)], axis=1).ravel()
        rows = Contributions(np.arange(0, len(ids) + 1, 2), ids, weights.astype(np.float32))
        members, scales = [], []
        for index, whole in enumerate(self.truth):
            level = self.truth[: self.parts_at] if index < self.parts_at else self.truth[self.parts_at :]
            for mask in self._damaged(whole, level):
                pixels = mask[main] ^ ((rng.random(len(main)) < self.faults[3]) & self._near_border(mask)[main])
                if pixels.sum() >= 4:
                    members.append(pixels)
                    scales.append(1.0 if index < self.parts_at else 0.5)
        if self.knob[main].sum() >= 4:
            members.append(self.knob[main])
            scales.append(0.1)
        order = np.argsort(scales, kind="stable")
        flat = np.stack(members, axis=1) if members else np.zeros((len(main), 0), bool)
        return rows, sampled_masks(flat[:, order], np.array(scales)[order])

    def _damaged(self, whole: np.ndarray, level: list[np.ndarray]) -> list[np.ndarray]:
        fate, (dropped, merged, split, _) = self.rng.random(), self.faults
        if fate < dropped:
            return []
        if fate < dropped + merged:
            others = [other for other in level if other is not whole]
            return [whole | others[self.rng.integers(len(others))]]
        if fate < dropped + merged + split:
            angle = self.rng.uniform(0, np.pi)
            along = self.places @ [np.cos(angle), np.sin(angle)]
            side = along > np.median(along[whole])
            return [whole & side, whole & ~side]
        return [whole]

    @staticmethod
    def _near_border(mask: np.ndarray) -> np.ndarray:
        return np.any([np.roll(mask, k) != mask for k in (-3, -2, -1, 1, 2, 3)], axis=0)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))
