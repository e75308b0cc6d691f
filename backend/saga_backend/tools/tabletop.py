"""The splat of the demo: a still life of objects with several parts on a wooden table, with exact labels.

It is built z up as in Blender, in units of about half a meter, and returned y down like captures.
"""

from __future__ import annotations

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.transforms import transform_cloud

from ..evaluation.surfaces import Surface, discs, turn_z
from ..evaluation.synthetic import BLENDER_TO_RDF
from .lighting import Light, Material, light_sh
from .tabletop_objects import table, tabletop_objects
from .tabletop_pieces import Piece

_TOTAL = 100_000
_TABLE_SHARE = 0.30
_FEWEST = 200  # points of a piece, at least
_SIGMA = 0.72  # standard deviation over spacing: no holes, and the texture stays visible


def make_tabletop(seed: int = 0) -> tuple[GaussianCloud, np.ndarray]:
    """Make the still life.

    Args:
        seed: seed of the sampling; the arrangement is always the same.

    Returns:
        The cloud (about 100,000 Gaussians, SH degree 3, y down) and labels [N,2] int32 (object, part; 0 = the table).
    """
    random = np.random.default_rng(seed)
    pieces = [(0, 0, piece, ((0.0, 0.0, 0.0), 0.0)) for piece in table()]
    part = 0
    for number, each in enumerate(tabletop_objects(), start=1):
        for parts in each.parts.values():
            part += 1
            pieces += [(number, part, piece, (each.place, each.turn)) for piece in parts]
    return _assemble(pieces, random)


def tabletop_names() -> tuple[dict[int, str], dict[int, str]]:
    """Names of the objects and of the parts ("mug: handle") by label."""
    objects = tabletop_objects()
    parts = [f"{each.name}: {part}" for each in objects for part in each.parts]
    return dict(enumerate((each.name for each in objects), 1)), dict(enumerate(parts, 1))


def _assemble(pieces: list, random: np.random.Generator) -> tuple[GaussianCloud, np.ndarray]:
    """Distribute the points by area, sample and light the pieces, and convert the axes."""
    weight = np.array([_area(piece) for _, _, piece, _ in pieces])
    table = np.array([number == 0 for number, *_ in pieces])
    share = np.where(table, _TABLE_SHARE * weight / weight[table].sum(), 0)
    share += np.where(table, 0, (1 - _TABLE_SHARE) * weight / weight[~table].sum())
    surfaces, columns, labels = [], [], []
    for (number, part, piece, (place, turn)), amount in zip(pieces, share, strict=True):
        surface = piece.sample(max(round(_TOTAL * amount), _FEWEST), random)
        n = len(surface)
        values = (piece.color(surface), np.full(n, piece.gloss), np.full(n, piece.glow), np.full(n, surface.spacing))
        surface = surface.transform(place, turn_z(turn))
        surfaces.append(surface)
        columns.append((surface.points, surface.normals, np.clip(values[0], 0.01, 1), *values[1:]))
        labels.append(np.tile(np.array([number, part], np.int32), (n, 1)))
    material = Material(*(np.concatenate(column) for column in zip(*columns, strict=True)))
    cloud = concatenate([_flat(surface, random) for surface in surfaces])
    sh = light_sh(material, cloud, Light())
    lit = GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, sh)
    return transform_cloud(lit, BLENDER_TO_RDF), np.concatenate(labels)


def _area(piece: Piece) -> float:
    probe = piece.sample(200, np.random.default_rng(0))
    return len(probe) * probe.spacing**2


def _flat(surface: Surface, random: np.random.Generator) -> GaussianCloud:
    n = len(surface)
    size = _SIGMA * surface.spacing * np.array([1, 1, 0.15])
    sizes = size * random.uniform(0.85, 1.15, (n, 3))
    return discs(surface, np.full((n, 3), 0.5), sizes, random.uniform(0.88, 0.99, n))
