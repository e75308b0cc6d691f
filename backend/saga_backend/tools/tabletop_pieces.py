"""The pieces of the objects on the demo's table: their shapes and colors, and tools to paint and bend them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import PchipInterpolator

from ..evaluation.surfaces import Surface


@dataclass(frozen=True)
class Piece:
    """One surface of a part.

    Attributes:
        sample: (count, random) -> Surface of that many points.
        color: Surface -> [M,3] display colors 0..1.
        gloss, glow: see lighting.Material.
    """

    sample: Callable[[int, np.random.Generator], Surface]
    color: Callable[[Surface], np.ndarray]
    gloss: float = 0.25
    glow: float = 0.0

    def at(self, offset: tuple[float, float, float], rotation: np.ndarray | None = None) -> Piece:
        """Rotate the piece by a matrix [3,3] and translate it. The colors move with it."""
        sample, color = self.sample, self.color
        back = np.eye(3) if rotation is None else rotation

        def color_in_place(surface: Surface) -> np.ndarray:
            points, normals = (surface.points - offset) @ back, surface.normals @ back
            return color(Surface(points, normals, surface.uv, surface.spacing))

        def sample_in_place(count: int, random: np.random.Generator) -> Surface:
            return sample(count, random).transform(offset, rotation)

        return Piece(sample_in_place, color_in_place, self.gloss, self.glow)


@dataclass(frozen=True)
class TabletopObject:
    """An object: its name, its place, its rotation about z in degrees, and the pieces of its parts by name."""

    name: str
    place: tuple[float, float, float]
    turn: float
    parts: dict[str, list[Piece]] = field(default_factory=dict)


def noise(points: np.ndarray, frequency: float, seed: int = 0) -> np.ndarray:
    """[M] smooth noise of about -1..1 from a few plane waves in random directions.

    Args:
        points: [M,3].
        frequency: cycles per unit.
        seed: seed of the directions.
    """
    random = np.random.default_rng(seed)
    waves = random.normal(size=(9, 3))
    waves *= (2 * np.pi * frequency * random.uniform(0.5, 1.5, 9) / np.linalg.norm(waves, axis=1))[:, None]
    return np.sin(points @ waves.T + random.uniform(0, 2 * np.pi, 9)).sum(axis=1) / 4


def mix(a: np.ndarray | tuple, b: np.ndarray | tuple, t: np.ndarray) -> np.ndarray:
    """[M,3] colors from a (t = 0) to b (t = 1)."""
    share = np.clip(np.asarray(t, np.float64), 0, 1)[:, None]
    return np.asarray(a) * (1 - share) + np.asarray(b) * share


def plain(*rgb: float, mottle: float = 0.02) -> Callable[[Surface], np.ndarray]:
    """One color with a little mottling."""
    return lambda surface: np.array(rgb) + mottle * noise(surface.points, 9)[:, None]


def curve(points: list[tuple[float, float]], samples: int = 80) -> np.ndarray:
    """A smooth profile [samples,2] through points (radius, z), without overshoot."""
    knots = np.array(points, np.float64)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    return PchipInterpolator(along, knots)(np.linspace(0, along[-1], samples))


def arc(start: float, end: float, radius: tuple[float, float], samples: int = 24) -> np.ndarray:
    """[samples,3] points of an elliptic arc in the x-z plane; angles in degrees."""
    angle = np.radians(np.linspace(start, end, samples))
    return np.stack([radius[0] * np.cos(angle), np.zeros(samples), radius[1] * np.sin(angle)], axis=1)
