"""The standard synthetic scene of the design (section 10). It must not change: measurements refer to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from blender_saga.gaussians.view import View, look_at

from .surfaces import Surface, box, discs, plane, sphere

_GRID = 1.1
_FLOOR = 20_000
_PART_COUNTS = (2_500, 2_500, 1_250)
_DISC = np.array([0.016, 0.016, 0.003])
BLENDER_TO_RDF = np.linalg.inv(RDF_TO_BLENDER)


@dataclass(frozen=True, eq=False)
class LabeledScene:
    """A scene with exact labels.

    Attributes:
        cloud: the Gaussians, y down as in files.
        labels: [N,2] int32, object and part; 0 = none (the floor). Part numbers are unique in the scene.
        views: the cameras.
    """

    cloud: GaussianCloud
    labels: np.ndarray
    views: list[View]


def standard_scene(objects: int = 12, views: int = 40, seed: int = 0) -> LabeledScene:
    """A floor with objects on a grid of k x k cells. An object is a box with a sphere on it and a knob on the sphere.

    Args:
        objects: number of objects; k is the smallest number with k^2 >= objects.
        views: number of views, 480x360 pixels each.
        seed: seed of all random choices.
    """
    random = np.random.default_rng(seed)
    k = int(np.ceil(np.sqrt(objects)))
    cells = np.sort(random.permutation(k * k)[:objects])
    clouds, labels = [_floor(k, random)], [np.zeros((_FLOOR, 2), np.int32)]
    for number, cell in enumerate(cells):
        place = (np.array(divmod(cell, k)) - (k - 1) / 2) * _GRID + random.uniform(-0.1, 0.1, 2)
        for index, part in enumerate(_object(random)):
            surface = part.transform((*place, 0.0))
            clouds.append(_discs(surface, random.uniform(0.1, 0.95, 3), _DISC, random))
            labels.append(np.tile(np.array([number + 1, 3 * number + index + 1], np.int32), (len(surface), 1)))
    cloud, label = concatenate(clouds), np.concatenate(labels)
    cameras = _views(cloud.means[label[:, 0] > 0], k, views, random)
    return LabeledScene(transform_cloud(cloud, BLENDER_TO_RDF), label, cameras)


def _object(random: np.random.Generator) -> list[Surface]:
    """Box, sphere and knob of an object that stands on z = 0 at the origin."""
    half = random.uniform(0.10, 0.30, 3)
    radius = random.uniform(0.12, 0.22)
    center = np.array([0, 0, 2 * half[2] + 0.9 * radius])  # the sphere sinks into the box by a tenth of its radius
    azimuth, elevation = random.uniform(0, 2 * np.pi), random.uniform(0, np.pi / 3)
    out = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    return [
        box(tuple(half), _PART_COUNTS[0], random).transform((0, 0, half[2])),
        sphere(radius, _PART_COUNTS[1], random).transform(tuple(center)),
        sphere(0.4 * radius, _PART_COUNTS[2], random).transform(tuple(center + 1.2 * radius * out)),
    ]


def _floor(k: int, random: np.random.Generator) -> GaussianCloud:
    half = k * _GRID / 2 + 0.3
    surface = plane(half, half, _FLOOR, random)
    size = 0.65 * surface.spacing
    return _discs(surface, np.array([0.55, 0.52, 0.48]), np.array([size, size, 0.003]), random)


def _discs(surface: Surface, color: np.ndarray, size: np.ndarray, random: np.random.Generator) -> GaussianCloud:
    n = len(surface)
    rgb = np.clip(color + random.normal(0, 0.02, (n, 3)), 0, 1)
    sizes = size * random.uniform(0.7, 1.3, (n, 3))
    return discs(surface, rgb, sizes, random.uniform(0.6, 0.98, n))


def _views(points: np.ndarray, k: int, count: int, random: np.random.Generator) -> list[View]:
    """Views (file axes) from all sides, 20 to 60 degrees above the floor, as near as possible with all points in view.

    Args:
        points: [M,3], z up.
        k: cells on a side of the grid.
        count: number of views.
        random: source of the directions.
    """
    width, height = 480, 360
    K = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1.0]])
    target = np.array([0, 0, 0.3])
    views = []
    for index in range(count):
        azimuth = 2 * np.pi * (index + random.uniform(-0.3, 0.3)) / count
        elevation = np.radians(random.uniform(20, 60))
        flat = np.cos(elevation)
        direction = np.array([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)])
        view = View(look_at(target + k * direction, target, np.array([0, 0, 1.0])), K, width, height)
        back = _step_back(points, view)
        viewmat = view.viewmat.copy()
        viewmat[2, 3] += back
        views.append(View(viewmat @ RDF_TO_BLENDER, K, width, height))
    return views


def _step_back(points: np.ndarray, view: View, margin: float = 0.95) -> float:
    """The distance by which a camera must go back (negative: forward) so that all points are within the margin."""
    x, y, z = (points @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]).T
    reach_x, reach_y = margin * view.K[0, 2] / view.K[0, 0], margin * view.K[1, 2] / view.K[1, 1]
    return float(max((np.abs(x) / reach_x - z).max(), (np.abs(y) / reach_y - z).max()))
