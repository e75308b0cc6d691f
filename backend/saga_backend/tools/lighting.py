"""Bake light into a synthetic splat, as in a capture: soft shadows, ambient occlusion, highlights.

The rasterizer gives the visibility: depth pictures from many directions of the sky and of the sun.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0, sh_basis
from blender_saga.gaussians.view import View, look_at

from ..rasterizer.cpu import render

_MAP = 384  # pixels of a shadow map
_BIAS = 3.0  # in spacings, so that surfaces do not shadow themselves
_GAMMA = 2.2


@dataclass(frozen=True, eq=False)
class Material:
    """The M points of a scene and their materials.

    Attributes:
        points, normals: [M,3], z up.
        albedo: [M,3] 0..1, display values (sRGB).
        gloss: [M] 0..1, strength of the highlight.
        glow: [M] 0..1, share of the albedo that is emitted.
        spacing: [M], mean distance of neighbors, scene units.
    """

    points: np.ndarray
    normals: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    glow: np.ndarray
    spacing: np.ndarray


@dataclass(frozen=True)
class Light:
    """A soft sun and a sky.

    Attributes:
        sun: direction toward the sun.
        sun_spread: angular radius of the sun, radians.
        sun_directions: number of samples of the sun.
        sky_directions: number of samples of the upper hemisphere.
        sun_strength, sky_strength: linear light.
    """

    sun: tuple[float, float, float] = (-0.55, -0.45, 0.8)
    sun_spread: float = 0.10
    sun_directions: int = 10
    sky_directions: int = 28
    sun_strength: float = 1.05
    sky_strength: float = 0.5


def light_sh(material: Material, cloud: GaussianCloud, light: Light, degree: int = 3) -> np.ndarray:
    """Coefficients [M,K,3] of the lit scene: diffuse light in the base color, highlights in the higher bands.

    Args:
        material: the points, in the order of `cloud`.
        cloud: the same points as Gaussians, z up; their colors are not used.
        light: sun and sky.
        degree: degree of the result, 1 to 4.
    """
    sun = np.asarray(light.sun) / np.linalg.norm(light.sun)
    sky_light = _gather_light(material, cloud, _sky(light.sky_directions))
    sun_light = _gather_light(material, cloud, _cone(sun, light.sun_spread, light.sun_directions))
    warm, cool = np.array([1.06, 1.0, 0.9]), np.array([0.92, 0.98, 1.08])
    received = light.sun_strength * sun_light[:, None] * warm + light.sky_strength * sky_light[:, None] * cool
    received = received * (1 - material.glow[:, None]) + material.glow[:, None]
    rgb = (material.albedo**_GAMMA * received) ** (1 / _GAMMA)
    sh = np.zeros((len(rgb), (degree + 1) ** 2, 3))
    sh += _highlight(material, sun, sun_light, degree)[:, :, None] * warm
    sh[:, 0] += (rgb - 0.5) / C0
    return sh


def _gather_light(material: Material, cloud: GaussianCloud, directions: np.ndarray) -> np.ndarray:
    """[M] light from directions [D,3]; an unoccluded surface that faces the light gets 1."""
    light, free = np.zeros(len(cloud)), 0.0
    best = directions.mean(axis=0)
    best /= np.linalg.norm(best)
    for direction in directions:
        facing = np.maximum(material.normals @ direction, 0)
        light += facing * _visibility(material, cloud, direction)
        free += max(direction @ best, 0)
    return light / free


def _visibility(material: Material, cloud: GaussianCloud, direction: np.ndarray) -> np.ndarray:
    """[M] 0..1: the visibility of a distant light in a direction [3] (shadow map, four taps)."""
    center = (cloud.means.max(0) + cloud.means.min(0)) / 2
    reach = float(np.linalg.norm(cloud.means - center, axis=1).max())
    K = np.array([[0.5 * _MAP / reach, 0, 0.5 * _MAP], [0, 0.5 * _MAP / reach, 0.5 * _MAP], [0, 0, 1.0]])
    up = np.array([0.31, 0.95, 0.05])
    view = View(look_at(center + 3 * reach * direction, center, up), K, _MAP, _MAP, orthographic=True)
    picture = render(cloud, view)
    depth = np.where(picture.alpha > 0.5, picture.depth, np.inf)
    at = material.points + material.normals * material.spacing[:, None]
    x, y, z = (at @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]).T
    column, row = x * K[0, 0] + K[0, 2] - 0.5, y * K[1, 1] + K[1, 2] - 0.5
    reached = np.zeros(len(at))
    for dx in (0, 1):
        for dy in (0, 1):
            c, r = (np.clip(np.floor(v + d).astype(int), 0, _MAP - 1) for v, d in ((column, dx), (row, dy)))
            reached += depth[r, c] > z - _BIAS * material.spacing
    return reached / 4


def _highlight(material: Material, sun: np.ndarray, sun_light: np.ndarray, degree: int) -> np.ndarray:
    """[M,K] coefficients of a lobe around the mirrored direction of the sun, scaled by the sunlight at the point."""
    mirrored = 2 * (material.normals @ sun)[:, None] * material.normals - sun
    basis = sh_basis(-mirrored, degree)  # the ray goes from the camera to the Gaussian
    bands = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
    lobe = np.exp(-0.12 * bands * (bands + 1))  # a narrow lobe, smoothed against ringing
    peak = lobe.sum() / (4 * np.pi)
    lobe[0] = 0.0  # the base color is the diffuse one
    return (0.45 * material.gloss * np.minimum(sun_light, 1))[:, None] * basis * lobe / peak


def _sky(count: int) -> np.ndarray:
    """[count,3] evenly spaced directions of the upper hemisphere."""
    k = np.arange(count) + 0.5
    z, angle = 1 - k / count * 0.95, np.pi * (1 + 5**0.5) * k
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _cone(axis: np.ndarray, spread: float, count: int) -> np.ndarray:
    """[count,3] directions in a cone around an axis [3]; `spread` is its angular radius, radians."""
    side = np.cross(axis, [0.0, 0, 1])
    side /= np.linalg.norm(side)
    k = np.arange(count) + 0.5
    radius, angle = spread * np.sqrt(k / count), np.pi * (1 + 5**0.5) * k
    out = axis + (radius * np.cos(angle))[:, None] * side
    out = out + (radius * np.sin(angle))[:, None] * np.cross(axis, side)
    return out / np.linalg.norm(out, axis=1, keepdims=True)
