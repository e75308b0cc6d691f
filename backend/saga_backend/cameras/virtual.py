"""Virtual capture: cameras around and inside a cloud that together cover its opacity mass, for splats without photos.

Candidates lie on shells of several radii around the opacity-weighted center, and inside the scene looking outward. Each
is rasterized once at thumbnail size. Then a greedy selection adds the view with the largest gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View, look_at

from ..common.progress import Control
from ..rasterizer.cpu import all_pixels, contributions_of
from ..rasterizer.projection import project

_FOCAL = 0.9  # of the picture's width: a field of view of 58 degrees
_THUMBNAIL = (64, 48)
_SHELLS = (2.2, 1.4, 0.9)  # radii of the camera shells, in units of the scene's radius
_DIRECTIONS = (48, 48, 32)
_CELLS = 28  # cells across the scene's diameter
_VIEWS_PER_CELL = 8.0  # further views of a cell add no gain
_SAMPLE = 40_000  # Gaussians rasterized for the selection


@dataclass(frozen=True, eq=False)
class Capture:
    """The selected views and the share of the surface mass that they cover."""

    views: list[View]
    coverage: float


@dataclass(frozen=True, eq=False)
class Extent:
    """Center [3] and radius of a scene in scene units, robust against a few giant or distant Gaussians."""

    center: np.ndarray
    radius: float


def extent(cloud: GaussianCloud) -> Extent:
    """Opacity-weighted median and 95 % radius.

    Raises:
        UserError: if every Gaussian is transparent.
    """
    weights = np.where(cloud.opacities > 0.05, cloud.opacities, 0).astype(np.float64)
    if not weights.sum() > 0:
        raise UserError(
            "This cloud is invisible",
            "every Gaussian is transparent",
            fix="Export the splat again from the trainer, or choose another one",
            code=ErrorCode.EMPTY_SCENE,
        )
    center = np.array([_weighted_quantile(cloud.means[:, axis], weights, 0.5) for axis in range(3)])
    distances = np.linalg.norm(cloud.means - center, axis=1)
    radius = float(_weighted_quantile(distances, weights, 0.95))
    # If all centers coincide, the size of the Gaussians is the extent.
    size = _weighted_quantile(cloud.scales.max(axis=1), weights, 0.5)
    return Extent(center, max(radius, size, 1e-6))


@dataclass(frozen=True, eq=False)
class CaptureSettings:
    """At most `limit` views of `width` x `height` pixels; `up` points away from the ground."""

    limit: int = 40
    width: int = 480
    height: int = 360
    up: tuple[float, float, float] = (0.0, -1.0, 0.0)


def capture(cloud: GaussianCloud, settings: CaptureSettings, control: Control | None = None) -> Capture:
    """Select virtual views of a cloud.

    Raises:
        UserError: if no candidate shows the cloud.
    """
    control = control or Control()
    where = extent(cloud)
    cells, mass = _cells(cloud, where)
    sample = _thinned(cloud)
    candidates = _candidates(where, np.array(settings.up))
    seen = np.zeros((len(candidates), len(mass)), np.float32)
    for index, view in enumerate(candidates):
        control.progress("choosing views", index, len(candidates))
        seen[index] = _seen_cells(sample, view, cells[sample.index], len(mass), where)
    chosen, coverage = _greedy(seen, mass, settings.limit)
    if not chosen:
        raise UserError(
            "No virtual view shows this cloud",
            f"none of the {len(candidates)} candidates covers a visible part",
            fix="Choose Views: Blender Cameras, with cameras that look at the splat",
            code=ErrorCode.EMPTY_SCENE,
        )
    return Capture([candidates[i].resized(settings.width, settings.height) for i in chosen], coverage)


@dataclass(frozen=True, eq=False)
class _Sample:
    cloud: GaussianCloud
    index: np.ndarray


def _thinned(cloud: GaussianCloud) -> _Sample:
    """At most _SAMPLE Gaussians, enlarged to make up for the others: enough to test visibility."""
    n = len(cloud)
    if n <= _SAMPLE:
        return _Sample(cloud, np.arange(n))
    index = np.random.default_rng(0).choice(n, _SAMPLE, replace=False)
    part = cloud.take(index)
    scales = part.scales * np.float32((n / _SAMPLE) ** 0.5)
    return _Sample(GaussianCloud(part.means, part.quats, scales, part.opacities, part.sh), index)


def _cells(cloud: GaussianCloud, where: Extent) -> tuple[np.ndarray, np.ndarray]:
    """The cell of every Gaussian [N], and the mass of every cell [C]: the scene's surface area in it."""
    edge = 2 * where.radius / _CELLS
    grid = np.floor((cloud.means - where.center) / edge)
    grid = np.clip(grid, -2 * _CELLS, 2 * _CELLS).astype(np.int64)  # distant Gaussians share the outermost cells
    _, cells = np.unique(grid @ np.array([1, 1000, 1000_000]), return_inverse=True)
    side = np.sort(cloud.scales, axis=1)[:, 1:]
    area = np.minimum(side[:, 0], edge) * np.minimum(side[:, 1], edge)
    inside = (np.abs(grid) < 2 * _CELLS).all(axis=1)
    mass = np.bincount(cells, cloud.opacities * area * inside)
    return cells, np.minimum(mass, edge**2)


def _candidates(where: Extent, up: np.ndarray) -> list[View]:
    width, height = _THUMBNAIL
    focal = _FOCAL * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    views = []
    for shell, count in zip(_SHELLS, _DIRECTIONS, strict=True):
        for direction in _sphere(count):
            eye = where.center + direction * where.radius * shell
            views.append(View(look_at(eye, where.center, up), K, width, height))
    for offset in np.concatenate([[[0.0, 0.0, 0.0]], 0.4 * _sphere(8)]):  # inside, looking outward, for rooms
        eye = where.center + offset * where.radius
        views += [View(look_at(eye, eye + d, up), K, width, height) for d in _sphere(6)]
    return views


def _sphere(count: int) -> np.ndarray:
    """[count,3] unit directions spread evenly (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    z, angle = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _seen_cells(sample: _Sample, view: View, cells: np.ndarray, count: int, where: Extent) -> np.ndarray:
    """[C] float32, 0..1: how well a view shows each cell; all zero if the camera is inside a surface."""
    projected = project(sample.cloud, view)
    rows = contributions_of(projected, view, all_pixels(view))
    depth = (sample.cloud.means @ view.viewmat[2, :3] + view.viewmat[2, 3])[rows.ids]
    total = rows.weights.sum()
    if total < 0.02 * len(rows) or rows.weights[depth < 0.15 * where.radius].sum() > 0.3 * total:
        return np.zeros(count, np.float32)
    pixels = np.bincount(cells[rows.ids], rows.weights, minlength=count)
    return np.minimum(pixels, 1.0).astype(np.float32)


def _greedy(seen: np.ndarray, mass: np.ndarray, limit: int) -> tuple[list[int], float]:
    """Views in the order of their gain, until the gain or the limit is exhausted; and the coverage."""
    visible = mass * (seen.max(axis=0) > 0)
    chosen: list[int] = []
    views_of = np.zeros(len(mass), np.float32)
    best = np.zeros(len(mass), np.float32)
    while len(chosen) < limit:
        gain = (np.minimum(views_of + seen, _VIEWS_PER_CELL) - np.minimum(views_of, _VIEWS_PER_CELL)) @ visible
        gain[chosen] = 0
        pick = int(np.argmax(gain))
        if not gain[pick] > 1e-3 * visible.sum():
            break
        chosen.append(pick)
        views_of += seen[pick]
        best = np.maximum(best, seen[pick])
    return chosen, float((best * visible).sum() / max(visible.sum(), 1e-30))


def _weighted_quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(total, share * total[-1])]])
