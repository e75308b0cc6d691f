"""The objects on the demo's table: the shapes and colors of their parts (z up, local coordinates)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..evaluation.surfaces import Surface, box, lathe, plane, sphere, tube, turn_x, turn_z
from .tabletop_pieces import Piece, TabletopObject, arc, curve, mix, noise, plain

TABLE_RADIUS = 1.55


def tabletop_objects() -> list[TabletopObject]:
    """All objects, in the order of their labels."""
    return [
        TabletopObject("mug", (0.42, -0.62, 0), -35, _mug()),
        TabletopObject("lamp", (-0.62, 0.60, 0), 0, _lamp()),
        TabletopObject("books", (0.55, 0.42, 0), 12, _books()),
        TabletopObject("pear", (0.52, 0.40, 0.325), 60, _pear()),
        TabletopObject("robot", (-0.28, -0.30, 0), 20, _robot()),
        TabletopObject("cactus", (-0.98, -0.22, 0), 0, _cactus()),
        TabletopObject("ball", (-0.62, -0.90, 0.21), 0, _ball()),
    ]


def table() -> list[Piece]:
    """A round wooden table top with a gingham cloth on it."""
    radius = TABLE_RADIUS
    profile = [(radius - 0.05, -0.10), (radius, -0.06), (radius, -0.03), (radius - 0.03, 0), (0, 0)]
    return [Piece(partial(lathe, np.array(profile)), _wood_and_cloth, gloss=0.3)]


def _wood_and_cloth(surface: Surface) -> np.ndarray:
    x, y, z = surface.points.T
    plank = np.floor((y + 4) / 0.31)
    tone = np.sin(plank * 12.9898) * 0.5
    warped = surface.points * [0.35, 1, 1] + 0.05 * noise(surface.points * [0.5, 1, 1], 1.3, 3)[:, None]
    rings = np.sin(2 * np.pi * (warped[:, 1] + 0.21 * plank) * 17)
    grain = 0.5 * rings + 0.6 * noise(surface.points * [0.25, 3, 1], 6, 4)
    rgb = mix((0.43, 0.27, 0.16), (0.66, 0.45, 0.28), 0.5 + 0.24 * grain + 0.35 * tone)
    seam = np.abs((y + 4) / 0.31 - np.round((y + 4) / 0.31)) * 0.31 < 0.011
    rgb[seam] *= 0.55
    c, s = np.cos(0.45), np.sin(0.45)
    u, v = c * x + s * y, c * y - s * x
    cloth = (np.maximum(np.abs(u), np.abs(v)) < 0.86) & (z > -1e-3)
    stripes = (np.floor(u / 0.086).astype(int) % 2) + (np.floor(v / 0.086).astype(int) % 2)
    gingham = np.array([[0.94, 0.93, 0.89], [0.55, 0.68, 0.80], [0.17, 0.36, 0.56]])[stripes]
    hem = np.maximum(np.abs(u), np.abs(v)) > 0.83
    gingham[hem] = (0.94, 0.93, 0.89)
    rgb[cloth] = gingham[cloth] + 0.03 * noise(surface.points[cloth], 25, 7)[:, None]
    return rgb


def _upright(low: float, high: float) -> np.ndarray:
    """[8,3] a path along the z axis."""
    return np.stack([np.zeros(8), np.zeros(8), np.linspace(low, high, 8)], axis=1)


def _mug() -> dict[str, list[Piece]]:
    outline = [(0, 0), (0.19, 0), (0.215, 0.02), (0.24, 0.12), (0.245, 0.46), (0.24, 0.485), (0.222, 0.485)]
    outline += [(0.218, 0.45), (0.212, 0.12), (0.19, 0.06)]

    def glaze(surface: Surface) -> np.ndarray:
        x, y, z = surface.points.T
        outside = (surface.normals[:, :2] * surface.points[:, :2]).sum(1) > 0
        wave = z + 0.018 * np.sin(6 * np.arctan2(y, x))
        band = ((wave > 0.13) & (wave < 0.19)) | ((wave > 0.23) & (wave < 0.29))
        rgb = np.tile([0.87, 0.33, 0.24], (len(z), 1))
        rgb[band] = (0.97, 0.91, 0.78)
        rgb[(z > 0.465) | ~outside] = (0.96, 0.93, 0.86)
        return rgb + 0.015 * noise(surface.points, 12)[:, None]

    coffee = Piece(
        partial(lathe, np.array([(0.216, 0.40), (0, 0.40)])),
        lambda s: mix((0.19, 0.10, 0.05), (0.50, 0.32, 0.18), 12 * (np.hypot(*s.points.T[:2]) - 0.15)),
        gloss=0.7,
    )
    handle = Piece(partial(tube, arc(-78, 78, (0.165, 0.155)), 0.034), plain(0.87, 0.33, 0.24), gloss=0.8)
    body = Piece(partial(lathe, np.array(outline)), glaze, gloss=0.8)
    return {"body": [body], "handle": [handle.at((0.225, 0, 0.26))], "coffee": [coffee]}


def _lamp() -> dict[str, list[Piece]]:
    outline = [(0.17, 0), (0.19, 0.03), (0.15, 0.07), (0.21, 0.22), (0.2, 0.33), (0.1, 0.5), (0.055, 0.57), (0, 0.58)]

    def china(surface: Surface) -> np.ndarray:
        x, y, z = surface.points.T
        angle = np.arctan2(y, x)
        petals = np.cos(5 * angle) * 0.5 + np.cos(2 * np.pi * (z - 0.25) / 0.3) > 0.75
        ring = (np.abs(z - 0.45) < 0.012) | (np.abs(z - 0.075) < 0.014) | (np.abs(z - 0.42) < 0.005)
        rgb = np.tile([0.90, 0.93, 0.94], (len(z), 1))
        rgb[petals | ring] = (0.12, 0.28, 0.55)
        return rgb + 0.015 * noise(surface.points, 10)[:, None]

    def pleats(surface: Surface) -> np.ndarray:
        x, y, z = surface.points.T
        fold = 0.5 + 0.5 * np.cos(36 * np.arctan2(y, x))
        rgb = mix((0.88, 0.70, 0.42), (1.0, 0.90, 0.66), 0.35 + 0.65 * fold)
        rgb *= (1.06 - 0.5 * np.abs(z - 0.92))[:, None]
        rgb[(z < 0.765) | (z > 1.145)] = (0.62, 0.36, 0.16)
        return rgb

    shade = [
        Piece(partial(lathe, np.array([(0.40, 0.74), (0.23, 1.17)])), pleats, gloss=0.05, glow=0.55),
        Piece(partial(lathe, np.array([(0.22, 1.17), (0.39, 0.74)])), plain(1.0, 0.93, 0.74), gloss=0.0, glow=0.9),
    ]
    bulb = Piece(partial(sphere, 0.085), plain(1.0, 0.97, 0.85), glow=1.0).at((0, 0, 0.86))
    stem = Piece(partial(tube, _upright(0.56, 0.80), 0.028), plain(0.78, 0.6, 0.28), 0.9)
    return {
        "base": [Piece(partial(lathe, curve(outline)), china, gloss=0.8)],
        "stem": [stem],
        "shade": shade,
        "bulb": [bulb],
    }


def _pear() -> dict[str, list[Piece]]:
    outline = [(0, 0.01), (0.1, 0), (0.175, 0.06), (0.2, 0.15), (0.17, 0.27), (0.105, 0.38), (0.08, 0.45)]
    outline += [(0.05, 0.49), (0, 0.485)]

    def skin(surface: Surface) -> np.ndarray:
        x, _, z = surface.points.T
        rgb = mix((0.62, 0.72, 0.20), (0.93, 0.80, 0.27), 1.25 - 2.2 * z + 0.12 * noise(surface.points, 4))
        rgb = mix(rgb, (0.86, 0.38, 0.20), 4 * (x - 0.02) * (0.5 + z))
        dots = noise(surface.points, 22, 5) > 1.15
        rgb[dots] *= 0.72
        return rgb

    bend = np.linspace(0, 1, 14)
    stalk_path = np.stack([0.07 * bend**2, 0.02 * bend, 0.47 + 0.16 * bend], axis=1)
    stalk = Piece(partial(tube, stalk_path, np.linspace(0.014, 0.02, 14)), plain(0.36, 0.23, 0.12), gloss=0.1)
    leaf = Piece(_leaf, lambda s: mix((0.16, 0.42, 0.13), (0.42, 0.66, 0.24), 30 * np.abs(s.points[:, 1]) - 0.1), 0.4)
    fruit = Piece(partial(lathe, curve(outline)), skin, gloss=0.5)
    return {"fruit": [fruit], "stalk": [stalk], "leaf": [leaf.at((0.03, 0, 0.53))]}


def _leaf(count: int, random: np.random.Generator) -> Surface:
    """A pointed leaf along x with a fold at its midrib and a bend toward the tip."""
    flat = plane(0.14, 0.07, count, random)
    x, y, _ = flat.points.T
    t = np.clip((x + 0.14) / 0.28, 0, 1)
    y = y * np.sin(np.pi * t**0.8)
    points = np.stack([x + 0.14, y, 0.35 * np.abs(y) + 0.10 * np.sin(2.2 * t) - 0.03], axis=1)
    normals = np.stack([-0.4 * np.cos(2.2 * t), -0.35 * np.sign(y), np.ones_like(y)], axis=1)
    return Surface(points, normals / np.linalg.norm(normals, axis=1, keepdims=True), flat.uv, 0.8 * flat.spacing)


_DARK, _RED = (0.24, 0.27, 0.32), (0.88, 0.30, 0.22)
_SHELL = plain(0.36, 0.66, 0.66)


def _robot() -> dict[str, list[Piece]]:
    eye = Piece(partial(sphere, 0.04), plain(1.0, 0.93, 0.55), 0.5, 0.8)
    eyes = [eye.at((x, -0.125, 0.785)) for x in (-0.065, 0.065)]
    ears = [Piece(partial(sphere, 0.04), plain(*_RED), 0.6).at((x, 0, 0.76)) for x in (-0.165, 0.165)]
    head = Piece(lambda n, r: box((0.16, 0.13, 0.12), n, r, 0.045), _robot_face, 0.6).at((0, 0, 0.76))
    body = Piece(lambda n, r: box((0.21, 0.14, 0.19), n, r, 0.04), _robot_chest, 0.6).at((0, 0, 0.47))
    wire = Piece(partial(tube, _upright(0.87, 1.02), 0.013), plain(*_DARK), 0.5)
    tip = Piece(partial(sphere, 0.038), plain(*_RED), 0.7, 0.3).at((0, 0, 1.04))
    parts = {"body": [body], "head": [head, *eyes, *ears], "antenna": [wire, tip]}
    parts |= {"right arm": _robot_arm(-1), "left arm": _robot_arm(1)}
    return parts | {"right leg": _robot_leg(-1), "left leg": _robot_leg(1)}


def _robot_chest(surface: Surface) -> np.ndarray:
    x, y, z = surface.points.T
    rgb = _SHELL(surface)
    front = y < -0.12
    rgb[front & (np.abs(x) < 0.14) & (np.abs(z - 0.03) < 0.12)] = (0.93, 0.90, 0.80)
    for column, color in ((-0.08, _RED), (0.0, (0.96, 0.75, 0.20)), (0.08, (0.30, 0.60, 0.33))):
        rgb[front & (np.hypot(x - column, z - 0.08) < 0.03)] = color
    meter = front & (np.abs(x) < 0.11) & (np.abs(z + 0.02) < 0.03)
    rgb[meter] = mix((0.2, 0.25, 0.3), (0.45, 0.8, 0.85), np.sign(np.sin(90 * x[meter])))
    return rgb


def _robot_face(surface: Surface) -> np.ndarray:
    x, y, z = surface.points.T
    rgb = _SHELL(surface)
    mouth = (y < -0.1) & (np.abs(x) < 0.08) & (np.abs(z + 0.055) < 0.018)
    rgb[mouth] = mix((0.15, 0.17, 0.2), (0.93, 0.9, 0.8), np.sign(np.sin(140 * x[mouth])))
    return rgb


def _robot_arm(side: int) -> list[Piece]:
    bend = np.linspace(0, 1, 12)
    path = np.stack([side * (0.23 + 0.09 * np.sin(2.2 * bend)), -0.16 * bend**2, 0.56 - 0.24 * bend], axis=1)
    hand = Piece(partial(sphere, 0.062), plain(*_RED), 0.6).at(tuple(path[-1] - [0, 0.02, 0.04]))
    joint = Piece(partial(sphere, 0.06), plain(*_DARK), 0.6).at((side * 0.225, 0, 0.56))
    return [Piece(partial(tube, path, 0.036), plain(*_DARK), 0.6), joint, hand]


def _robot_leg(side: int) -> list[Piece]:
    upper = Piece(partial(tube, _upright(0.08, 0.30), 0.06), plain(*_DARK), 0.6)
    foot = Piece(lambda n, r: box((0.085, 0.12, 0.045), n, r, 0.03), plain(*_RED), 0.6).at((0, -0.03, 0.045))
    return [upper.at((side * 0.1, 0, 0)), foot.at((side * 0.1, 0, 0))]


def _books() -> dict[str, list[Piece]]:
    def book(half: tuple[float, float, float], cover: tuple, ink: tuple) -> Piece:
        def paint(surface: Surface) -> np.ndarray:
            x, y, z = surface.points.T
            pages = (np.abs(z) < half[2] - 0.014) & (y > -half[1] + 0.012)
            rgb = np.tile(cover, (len(x), 1)) + 0.02 * noise(surface.points, 14)[:, None]
            leaf = 0.82 + 0.08 * np.sign(np.sin(z * 520)) + 0.05 * noise(surface.points * [1, 1, 8], 10)
            rgb[pages] = (np.array([1.0, 0.95, 0.84]) * leaf[:, None])[pages]
            frame = np.maximum(np.abs(x) / half[0], np.abs(y) / half[1])
            rgb[(z > half[2] - 0.01) & (np.abs(frame - 0.86) < 0.022)] = ink
            rgb[(z > half[2] - 0.01) & (np.abs(x) < 0.45 * half[0]) & (np.abs(y - 0.1) < 0.035)] = ink
            spine = ~pages & (y < -half[1] + 0.012) & (np.abs(z) < half[2] - 0.02)
            rgb[spine & ((np.abs(np.abs(x) - 0.75 * half[0]) < 0.015) | (np.abs(x) < 0.3 * half[0]))] = ink
            return rgb

        return Piece(lambda n, r: box(half, n, r, 0.008), paint, gloss=0.35)

    lower = book((0.46, 0.34, 0.06), (0.16, 0.36, 0.30), (0.88, 0.75, 0.42)).at((0, 0, 0.06))
    middle = book((0.42, 0.31, 0.05), (0.78, 0.52, 0.18), (0.30, 0.15, 0.08)).at((0, 0, 0.17), turn_z(14))
    upper = book((0.38, 0.28, 0.0525), (0.50, 0.16, 0.24), (0.92, 0.85, 0.70)).at((0, 0, 0.2725), turn_z(-7))
    return {"lower book": [lower], "middle book": [middle], "upper book": [upper]}


def _cactus() -> dict[str, list[Piece]]:
    pot_outline = [(0.13, 0), (0.19, 0.26), (0.215, 0.26), (0.225, 0.34), (0.195, 0.34), (0.185, 0.29)]
    clay = Piece(partial(lathe, np.array(pot_outline)), _clay, gloss=0.1)
    soil = Piece(
        partial(lathe, np.array([(0.19, 0.30), (0, 0.305)])),
        lambda s: mix((0.16, 0.11, 0.08), (0.36, 0.27, 0.2), 0.5 + 0.5 * noise(s.points, 22)), 0.0,
    )  # fmt: skip
    trunk_outline = curve([(0.10, 0.28), (0.135, 0.4), (0.135, 0.66), (0.11, 0.78), (0.06, 0.84), (0, 0.85)])
    trunk = Piece(lambda n, r: _ribbed(lathe(trunk_outline, n, r), 11), _spines(11), gloss=0.2)
    bent = np.add(arc(-90, 0, (0.13, 0.13)), [0.13, 0, 0.55])
    bend = np.concatenate([bent, np.add(_upright(0.57, 0.68), [0.26, 0, 0])])
    radii = np.full(len(bend), 0.06)
    radii[-8:] = 0.06 * np.sqrt(np.clip(1 - np.linspace(0, 1, 8) ** 3, 0.02, 1))
    arm = Piece(partial(tube, bend, radii), plain(0.26, 0.50, 0.27, mottle=0.04), gloss=0.2)
    flower = [Piece(partial(sphere, 0.045), plain(0.97, 0.82, 0.30), 0.2).at((0, 0, 0.87))]
    for k in range(6):
        x, y = 0.06 * np.cos(k * np.pi / 3), 0.06 * np.sin(k * np.pi / 3)
        flower.append(Piece(partial(sphere, 0.04), plain(0.90, 0.36, 0.55), 0.2).at((x, y, 0.862)))
    return {"pot": [clay, soil], "trunk": [trunk], "arm": [arm], "flower": flower}


def _clay(surface: Surface) -> np.ndarray:
    rgb = mix((0.66, 0.35, 0.22), (0.80, 0.48, 0.32), 0.5 + 0.3 * noise(surface.points * [1, 1, 3], 4))
    z = surface.points[:, 2]
    zigzag = np.abs(z - 0.13 - 0.03 * np.abs(((np.arctan2(*surface.points.T[:2]) * 8 / np.pi) % 2) - 1)) < 0.014
    rgb[zigzag] = (0.95, 0.88, 0.76)
    return rgb


def _ribbed(surface: Surface, ribs: int) -> Surface:
    angle = 2 * np.pi * surface.uv[:, 1]
    swell = 1 + 0.09 * np.cos(ribs * angle)
    points = surface.points * np.stack([swell, swell, np.ones_like(swell)], axis=1)
    around = np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=1)
    normals = surface.normals + (0.09 * ribs * np.sin(ribs * angle))[:, None] * around
    return Surface(points, normals / np.linalg.norm(normals, axis=1, keepdims=True), surface.uv, surface.spacing)


def _spines(ribs: int) -> Callable[[Surface], np.ndarray]:
    def paint(surface: Surface) -> np.ndarray:
        ridge = np.cos(ribs * 2 * np.pi * surface.uv[:, 1])
        rgb = mix((0.13, 0.33, 0.18), (0.36, 0.62, 0.33), 0.5 + 0.5 * ridge)
        dots = (ridge > 0.86) & (np.abs(((surface.points[:, 2] / 0.055) % 1) - 0.5) < 0.17)
        rgb[dots] = (0.93, 0.90, 0.70)
        return rgb

    return paint


def _ball() -> dict[str, list[Piece]]:
    white = (0.96, 0.94, 0.88)
    palette = np.array([(0.90, 0.26, 0.22), white, (0.18, 0.46, 0.74), white, (0.97, 0.76, 0.18), white])

    def panels(surface: Surface) -> np.ndarray:
        x, y, z = surface.points.T
        rgb = palette[np.floor((np.arctan2(y, x) / (2 * np.pi) % 1) * 6).astype(int) % 6]
        rgb[np.abs(z) > 0.19] = white
        return rgb

    return {"ball": [Piece(partial(sphere, 0.21), panels, gloss=0.9).at((0, 0, 0), turn_x(35))]}
