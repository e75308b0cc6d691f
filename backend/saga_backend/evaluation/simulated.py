"""Simulated masks of an image segmenter, made from exact labels: some missing, some wrong, none exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy import ndimage

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from ..rasterizer.contributions import Contributions
from ..rasterizer.cpu import all_pixels, contributions


@dataclass(frozen=True)
class MaskDamage:
    """Damage to the true masks. The defaults are those of the standard scene (design section 10).

    Attributes:
        smallest: visible pixels that a segment needs for a mask.
        dropped, merged, split: shares of the masks that are missing, merged with a touching neighbor, split in two. A
            mask suffers one kind of damage; if the sum exceeds 1, the later shares are cut.
        ragged: range of the amplitude (two standard deviations) of the noise on the border, pixels.
    """

    smallest: int = 40
    dropped: float = 0.25
    merged: float = 0.10
    split: float = 0.10
    ragged: tuple[float, float] = (1.0, 2.0)

    def __post_init__(self) -> None:
        shares = self.dropped, self.merged, self.split
        if not all(0 <= share <= 1 for share in shares):
            why = f"dropped, merged and split are {', '.join(map(str, shares))}: shares lie between 0 and 1"
            raise UserError(
                "The masks cannot be damaged like that",
                why,
                fix="Use shares from 0 to 1, pixels from 0 to 100",
                code=ErrorCode.BAD_SETTINGS,
            )
        if not 0 <= self.ragged[0] <= self.ragged[1] <= 100 or self.smallest < 1:
            why = f"ragged goes from {self.ragged[0]} to {self.ragged[1]} pixels, smallest is {self.smallest}"
            raise UserError(
                "The masks cannot be damaged like that",
                why,
                fix="Use shares from 0 to 1, pixels from 0 to 100",
                code=ErrorCode.BAD_SETTINGS,
            )


def label_maps(rows: Contributions, labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The label of each pixel: [L,H,W] int32, 0 for none and for pixels with an alpha below one half.

    Args:
        rows: all pixels of a view in row-major order.
        labels: [N,L] int, 0 = none, which competes for a pixel like any other label.
        height, width: pixels.
    """
    maps = rows.strongest(labels)
    maps[rows.alphas() < 0.5] = 0
    return np.maximum(maps, 0).T.reshape(-1, height, width)


def simulate_masks(maps: np.ndarray, damage: MaskDamage, random: np.random.Generator) -> np.ndarray:
    """Damaged masks of one view.

    Args:
        maps: [L,H,W] int, label maps of the levels (objects, parts); 0 = none.
        damage: kind and amount of the damage.
        random: source of the damage; one generator for all views makes their damage independent.

    Returns:
        [M,H,W] bool, not ordered by size.
    """
    masks = [mask for level in maps for mask in _damage_level(level, damage, random)]
    return np.stack(masks) if masks else np.zeros((0, *maps.shape[1:]), bool)


def _damage_level(level: np.ndarray, damage: MaskDamage, random: np.random.Generator) -> list[np.ndarray]:
    values, counts = np.unique(level[level > 0], return_counts=True)
    masks: list[np.ndarray] = []
    for label in values[counts >= damage.smallest]:
        mask = level == label
        fate = random.random()
        pieces = [mask]
        if fate < damage.dropped:
            continue
        if fate < damage.dropped + damage.merged:
            pieces = [_merge(mask, level, random)]
        elif fate < damage.dropped + damage.merged + damage.split:
            pieces = _split(mask, random)
        masks += [ragged for piece in pieces if (ragged := _add_border_noise(piece, damage.ragged, random)).any()]
    return masks


def _merge(mask: np.ndarray, level: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Merge the mask with one label that touches it in the picture, if there is one."""
    around = ndimage.binary_dilation(mask, iterations=2) & ~mask
    neighbors = np.unique(level[around & (level > 0)])
    return mask | (level == random.choice(neighbors)) if len(neighbors) else mask


def _split(mask: np.ndarray, random: np.random.Generator) -> list[np.ndarray]:
    """Split a mask into two along a line through its middle, at a random angle."""
    rows, columns = np.nonzero(mask)
    angle = random.uniform(0, np.pi)
    side = np.zeros_like(mask)
    distance = (rows - rows.mean()) * np.sin(angle) + (columns - columns.mean()) * np.cos(angle)
    side[rows, columns] = distance > 0
    return [side, mask & ~side]


def _add_border_noise(mask: np.ndarray, amplitude: tuple[float, float], random: np.random.Generator) -> np.ndarray:
    """Move the border of a mask in and out by smooth noise.

    Args:
        mask: [H,W] bool.
        amplitude: its range, pixels.
        random: source of the noise.
    """
    if amplitude[1] <= 0 or not mask.any():
        return mask
    rows, columns = np.nonzero(mask)
    pad = int(np.ceil(amplitude[1])) + 1
    crop = (
        slice(max(rows.min() - pad, 0), rows.max() + pad + 1),
        slice(max(columns.min() - pad, 0), columns.max() + pad + 1),
    )
    inside = mask[crop]
    if inside.all():  # the mask fills its crop, hence the picture: there is no border
        return mask
    distance = ndimage.distance_transform_edt(inside) - ndimage.distance_transform_edt(~inside)
    distance -= 0.5 * np.sign(distance)  # pixel centers lie half a pixel from the border
    noise = ndimage.gaussian_filter(random.normal(size=inside.shape), 1.5)
    noise *= random.uniform(*amplitude) / max(2 * noise.std(), 1e-12)  # one border pixel in 20 reaches the amplitude
    out = np.zeros_like(mask)
    out[crop] = distance + noise > 0
    return out


class SimulatedMasks(Sequence[np.ndarray]):
    """Damaged masks [M,H,W] of every view. Each access makes them anew: all together would not fit in memory."""

    def __init__(
        self,
        cloud: GaussianCloud,
        labels: np.ndarray,
        views: Sequence[View],
        seed: int = 0,
        damage: MaskDamage | None = None,
    ) -> None:
        self._cloud, self._views, self._seed, self._damage = cloud, views, seed, damage or MaskDamage()
        self._labels = np.maximum(labels.reshape(len(cloud), -1), 0)

    def __len__(self) -> int:
        return len(self._views)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        view = self._views[index]
        rows = contributions(self._cloud, view, all_pixels(view))
        maps = label_maps(rows, self._labels, view.height, view.width)
        return simulate_masks(maps, self._damage, np.random.default_rng([self._seed, index % len(self)]))
