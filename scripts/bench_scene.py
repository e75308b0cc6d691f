"""Scenes of any number of Gaussians for the benchmarks: objects on a floor, made of flat discs that cover the surfaces.

As in captures, a larger cloud has more objects (their number grows with the square root of N) and finer detail (the
discs become smaller).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.evaluation.surfaces import Surface, box, discs, plane, sphere
from saga_backend.evaluation.synthetic import BLENDER_TO_RDF

SIZE = (480, 360)
_CELL = 1.1  # distance of the objects, scene units
_FLOOR = 0.25  # share of the Gaussians
_OBJECTS_AT_100K = 12
_COVER = 0.65  # standard deviation of a disc over the spacing of the discs: no holes, some overlap


@dataclass(frozen=True, eq=False)
class BenchScene:
    """A cloud (y down, as in files), the object of each Gaussian [N] int32 (0: the floor), and views."""

    cloud: GaussianCloud
    objects: np.ndarray
    views: list[View]


def bench_scene(count: int, views: int, seed: int = 0) -> BenchScene:
    """A scene of `count` Gaussians with `views` cameras around it: half of them near an object, half far away."""
    random = np.random.default_rng(seed)
    object_count = max(1, round(_OBJECTS_AT_100K * (count / 100_000) ** 0.5))
    k = int(np.ceil(object_count**0.5))
    floor = plane(k * _CELL / 2 + 0.3, k * _CELL / 2 + 0.3, round(_FLOOR * count), random)
    parts, objects = [_splats(floor, random)], [np.zeros(len(floor), np.int32)]
    shares = np.diff(np.linspace(0, count - len(floor), object_count + 1).round().astype(int))
    for number, share in enumerate(shares):
        place = (np.array(divmod(number, k)) - (k - 1) / 2) * _CELL + random.uniform(-0.1, 0.1, 2)
        for part in _object(int(share), random):
            parts.append(_splats(part.transform((*place, 0.0)), random))
            objects.append(np.full(len(part), number + 1, np.int32))
    cloud = transform_cloud(concatenate(parts), BLENDER_TO_RDF)
    return BenchScene(cloud, np.concatenate(objects), [_view(i, views, k, random) for i in range(views)])


def _object(count: int, random: np.random.Generator) -> list[Surface]:
    """A box on z = 0 with a ball on it."""
    half = random.uniform(0.15, 0.30, 3)
    radius = random.uniform(0.15, 0.25)
    base = count // 2
    ball = sphere(radius, count - base, random).transform((0, 0, 2 * half[2] + 0.9 * radius))
    return [box(tuple(half), base, random).transform((0, 0, half[2])), ball]


def _splats(surface: Surface, random: np.random.Generator) -> GaussianCloud:
    n, size = len(surface), _COVER * surface.spacing
    rgb = np.clip(random.uniform(0.1, 0.9, 3) + random.normal(0, 0.02, (n, 3)), 0, 1)
    sizes = np.array([size, size, 0.15 * size]) * random.uniform(0.7, 1.3, (n, 3))
    return discs(surface, rgb, sizes, random.uniform(0.4, 0.98, n))


def _view(index: int, views: int, k: int, random: np.random.Generator) -> View:
    """View number `index`: an odd one sees the whole scene from outside, an even one is near an object."""
    width, height = SIZE
    K = np.array([[0.9 * width, 0, width / 2], [0, 0.9 * width, height / 2], [0, 0, 1.0]])
    azimuth = 2 * np.pi * (index + random.uniform(-0.3, 0.3)) / views
    elevation = np.radians(random.uniform(20, 60))
    reach = _CELL * (1.0 * k + 0.6 if index % 2 else 2.2)
    target = np.array([0, 0, 0.3])
    if index % 2 == 0:
        target[:2] = (random.integers(0, k, 2) - (k - 1) / 2) * _CELL
    flat = np.cos(elevation)
    direction = np.array([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)])
    viewmat = look_at(target + reach * direction, target, np.array([0, 0, 1.0]))
    return View(viewmat @ RDF_TO_BLENDER, K, width, height)
