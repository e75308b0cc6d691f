"""Evenly sampled surfaces with normals for the synthetic scenes (z up, scene units)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0

_JITTER = 0.7  # share of a cell: more leaves holes, less shows a lattice


@dataclass(frozen=True, eq=False)
class Surface:
    """M points on a surface.

    Attributes:
        points: [M,3] float64.
        normals: [M,3] float64, unit length, outward.
        uv: [M,2] float64, 0..1, along the profile or path and around it (boxes: across each face).
        spacing: mean distance of neighboring points, the square root of area / M.
    """

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    spacing: float

    def __len__(self) -> int:
        return len(self.points)

    def transform(self, offset: tuple[float, float, float], rotation: np.ndarray | None = None) -> Surface:
        """Rotate about the origin by a matrix [3,3], then translate."""
        turn = np.eye(3) if rotation is None else rotation
        return Surface(self.points @ turn.T + offset, self.normals @ turn.T, self.uv, self.spacing)


def turn_z(degrees: float) -> np.ndarray:
    """[3,3] rotation about the vertical axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def turn_x(degrees: float) -> np.ndarray:
    """[3,3] rotation about the x axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def lathe(profile: np.ndarray, count: int, random: np.random.Generator) -> Surface:
    """The surface of revolution of a profile about the z axis.

    Args:
        profile: [P,2] polyline of (radius, z). From bottom to top, the outside is on the right.
        count: number of points.
        random: source of the jitter.
    """
    profile = np.asarray(profile, np.float64)
    lengths = np.linalg.norm(np.diff(profile, axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(lengths)])
    t, v, spacing = _strata(lambda t: 2 * np.pi * _interpolate(t, along, profile[:, 0]), along[-1], count, random)
    radius, z = _interpolate(t, along, profile[:, 0]), _interpolate(t, along, profile[:, 1])
    segment = np.clip(np.searchsorted(along, t * along[-1], "right") - 1, 0, len(lengths) - 1)
    step = np.diff(profile, axis=0)[segment] / np.maximum(lengths[segment], 1e-12)[:, None]
    c, s = np.cos(2 * np.pi * v), np.sin(2 * np.pi * v)
    normals = np.stack([step[:, 1] * c, step[:, 1] * s, -step[:, 0]], axis=1)
    return Surface(np.stack([radius * c, radius * s, z], axis=1), normals, np.stack([t, v], axis=1), spacing)


def sphere(radius: float, count: int, random: np.random.Generator) -> Surface:
    """A sphere around the origin."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 65)
    ball = lathe(radius * np.stack([np.cos(angle), np.sin(angle)], axis=1), count, random)
    normals = ball.points / np.linalg.norm(ball.points, axis=1, keepdims=True)
    return Surface(radius * normals, normals, ball.uv, ball.spacing)


def tube(path: np.ndarray, radius: float | np.ndarray, count: int, random: np.random.Generator) -> Surface:
    """A round tube along a smooth polyline [P,3]. `radius` is one number, or [P] with one for each point."""
    path = np.asarray(path, np.float64)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(path))
    t, v, spacing = _strata(lambda t: 2 * np.pi * _interpolate(t, along, radii), along[-1], count, random)
    center, tangent, side = (
        np.stack([_interpolate(t, along, c) for c in curve.T], axis=1) for curve in (path, *_frames(path))
    )
    side -= tangent * (side * tangent).sum(1, keepdims=True)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    angle = 2 * np.pi * v[:, None]
    normals = np.cos(angle) * side + np.sin(angle) * np.cross(tangent, side)
    points = center + _interpolate(t, along, radii)[:, None] * normals
    return Surface(points, normals, np.stack([t, v], axis=1), spacing)


def box(half: tuple[float, float, float], count: int, random: np.random.Generator, rounding: float = 0.0) -> Surface:
    """A box around the origin with the given half sides; `rounding` is the radius of its edges."""
    half_sides = np.asarray(half, np.float64)
    areas = np.array([4 * half_sides[(a + 1) % 3] * half_sides[(a + 2) % 3] for a in (0, 0, 1, 1, 2, 2)])
    counts = np.diff(np.round(np.concatenate([[0], np.cumsum(areas)]) / areas.sum() * count).astype(int))
    points, normals, uvs = [], [], []
    for face, number in enumerate(counts):
        axis, sign = face // 2, 1 - 2 * (face % 2)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        t, v, _ = _strata(_constant(2 * half_sides[b]), 2 * half_sides[a], number, random)
        p, n = np.zeros((number, 3)), np.zeros((number, 3))
        p[:, axis], n[:, axis] = sign * half_sides[axis], sign
        p[:, a], p[:, b] = (2 * t - 1) * half_sides[a], (2 * v - 1) * half_sides[b]
        points.append(p)
        normals.append(n)
        uvs.append(np.stack([t, v], axis=1))
    p, n = np.concatenate(points), np.concatenate(normals)
    if rounding:
        inner = np.clip(p, rounding - half_sides, half_sides - rounding)
        n = (p - inner) / np.linalg.norm(p - inner, axis=1, keepdims=True)
        p = inner + rounding * n
    return Surface(p, n, np.concatenate(uvs), float(np.sqrt(areas.sum() / count)))


def plane(half_x: float, half_y: float, count: int, random: np.random.Generator) -> Surface:
    """A horizontal rectangle around the origin that faces up."""
    t, v, spacing = _strata(_constant(2 * half_y), 2 * half_x, count, random)
    points = np.stack([(2 * t - 1) * half_x, (2 * v - 1) * half_y, np.zeros(count)], axis=1)
    return Surface(points, np.tile([0, 0, 1.0], (count, 1)), np.stack([t, v], axis=1), spacing)


def discs(surface: Surface, rgb: np.ndarray, sizes: np.ndarray, opacities: np.ndarray) -> GaussianCloud:
    """Flat Gaussians in the surface, with one color each in all directions.

    Args:
        surface: M points.
        rgb: [M,3], 0..1.
        sizes: [M,3], standard deviations: two in the surface, one along the normal, scene units.
        opacities: [M].
    """
    sh = ((np.asarray(rgb) - 0.5) / C0)[:, None, :]
    return GaussianCloud(surface.points, _quats_to(surface.normals), sizes, opacities, sh)


def _quats_to(normals: np.ndarray) -> np.ndarray:
    """[M,4] quaternions (w, x, y, z) that rotate the z axis to the normals [M,3]."""
    x, y, z = normals.T
    quats = np.stack([1 + z, -y, x, np.zeros_like(z)], axis=1)  # half way between the two axes
    quats[z < -1 + 1e-9] = (0, 1, 0, 0)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


def _constant(width: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda t: np.full_like(t, width)


def _strata(
    width: Callable[[np.ndarray], np.ndarray], length: float, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Sample a strip of varying width in jittered, nearly square cells.

    Args:
        width: the width at t [..] in 0..1, scene units.
        length: scene units.
        count: number of samples.
        random: source of the jitter.

    Returns:
        t [count] and v [count] in 0..1, along and across the strip; and the side of a cell, scene units.
    """
    fine = width((np.arange(256) + 0.5) / 256)
    spacing = float(np.sqrt(length * fine.mean() / max(count, 1)))
    rows = int(np.clip(round(length / max(spacing, 1e-12)), 1, max(count, 1)))
    share = np.cumsum(width((np.arange(rows) + 0.5) / rows))
    ends = np.round(np.concatenate([[0], share]) / share[-1] * count).astype(int)
    row = np.repeat(np.arange(rows), np.diff(ends))
    place = np.arange(count) - ends[row]
    jitter = _JITTER * (random.random((2, count)) - 0.5)
    t = (row + 0.5 + jitter[0]) / rows
    v = (place + 0.5 + jitter[1]) / np.maximum(np.diff(ends)[row], 1) + random.random(rows)[row]
    return t, v % 1.0, spacing


def _frames(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tangents and side directions [P,3] each; the sides follow the path without a twist."""
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    side = np.cross(tangents[0], np.eye(3)[int(np.argmin(np.abs(tangents[0])))])
    sides = []
    for tangent in tangents:
        side = side - tangent * (side @ tangent)
        side = side / np.linalg.norm(side)
        sides.append(side)
    return tangents, np.array(sides)


def _interpolate(t: np.ndarray, along: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate `values` [P] at the share t of a polyline's length; `along` [P] is the length up to each point."""
    return np.interp(t * along[-1], along, values)
