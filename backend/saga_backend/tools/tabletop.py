"""The demo's splat: a still life of things with several parts on a wooden table, with exact labels.

Built z up as in Blender, in units of about half a meter, and handed out y down as captures are.
"""

from __future__ import annotations

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.transforms import transform_cloud

from ..evaluation.surfaces import Surface, discs, turn_z
from ..evaluation.synthetic import BLENDER_TO_RDF
from .lighting import Light, Matter, lit_sh
from .tabletop_objects import table, things
from .tabletop_pieces import Piece

_TOTAL = 100_000
_TABLE_SHARE = 0.30
_FEWEST = 200  # points of a small piece
_SIGMA = 0.72  # of the spacing: a surface without holes that still shows its texture


def make_tabletop(seed: int = 0) -> tuple[GaussianCloud, np.ndarray]:
    """The still life.

    Args:
        seed: of the sampling; the arrangement is always the same.

    Returns:
        The cloud (about 100,000 Gaussians, SH degree 3, y down) and labels [N,2] int32 (object, part; 0 = the table).
    """
    random = np.random.default_rng(seed)
    pieces = [(0, 0, piece, ((0.0, 0.0, 0.0), 0.0)) for piece in table()]
    part = 0
    for number, thing in enumerate(things(), start=1):
        for parts in thing.parts.values():
            part += 1
            pieces += [(number, part, piece, (thing.place, thing.turn)) for piece in parts]
    return _assemble(pieces, random)


def tabletop_names() -> tuple[dict[int, str], dict[int, str]]:
    """Names of the objects and of the parts ("mug: handle") by label."""
    stand = things()
    parts = [f"{thing.name}: {part}" for thing in stand for part in thing.parts]
    return dict(enumerate((t.name for t in stand), 1)), dict(enumerate(parts, 1))


def _assemble(pieces: list, random: np.random.Generator) -> tuple[GaussianCloud, np.ndarray]:
    """Share out the points by area, sample, light, and turn the axes."""
    weight = np.array([_area(piece) for _, _, piece, _ in pieces])
    table = np.array([number == 0 for number, *_ in pieces])
    share = np.where(table, _TABLE_SHARE * weight / weight[table].sum(), 0)
    share += np.where(table, 0, (1 - _TABLE_SHARE) * weight / weight[~table].sum())
    surfaces, matter, labels = [], [], []
    for (number, part, piece, (place, turn)), amount in zip(pieces, share, strict=True):
        surface = piece.sample(max(round(_TOTAL * amount), _FEWEST), random)
        n = len(surface)
        look = (piece.color(surface), np.full(n, piece.gloss), np.full(n, piece.glow), np.full(n, surface.spacing))
        surface = surface.moved(place, turn_z(turn))
        surfaces.append(surface)
        matter.append((surface.points, surface.normals, np.clip(look[0], 0.01, 1), *look[1:]))
        labels.append(np.tile(np.array([number, part], np.int32), (n, 1)))
    stuff = Matter(*(np.concatenate(column) for column in zip(*matter, strict=True)))
    cloud = concatenate([_flat(surface, random) for surface in surfaces])
    sh = lit_sh(stuff, cloud, Light())
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
