"""Text-driven edit (Click-Gaussian section 4.4): CLIP leads the colors of some Gaussians from one text to another.

The geometry is frozen, so the blending weights of every view never change: a picture is a sparse product of the rows
and the colors, and nothing is rasterized while they are fitted. What is fitted is a shift of each Gaussian's color,
the same from all sides. Being linear, any share of it can be applied: the strength of the edit.

The loss is CLIP's directional one (Gal et al. 2021, StyleGAN-NADA): the pictures' vectors move as the texts' do. It
does not say how far, so how much further along that way they have come counts beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import C0, colors

from ..common.progress import Control
from ..rasterizer.cpu import all_pixels
from ..rasterizer.select import Rasterizer
from .clip_model import LoadedClip
from .cluster_renders import Vector, views_around

if TYPE_CHECKING:
    import torch

_FEWEST = 20  # Gaussians
_NEAR = 0.05  # added to how far the vectors have moved: where they begin, a direction would be all noise
_BATCH = 3  # views a step
_PLAIN = (0.1, 0.5, 0.9)  # red, green and blue of the colors that are tried first
_FAR = 1.0  # weight of how far the pictures have come, beside that of their direction
_DETAIL = 100.0  # weight that keeps the shifts of all Gaussians alike: freer, they make noise that only CLIP likes


@dataclass(frozen=True)
class RecolorSettings:
    """How the colors are fitted.

    Attributes:
        steps: optimizer steps.
        rate: Adam's, color units 0..1 a step.
        seed: of the views' order.
    """

    steps: int = 80
    rate: float = 0.02
    seed: int = 0


def recolor(
    part: GaussianCloud,
    texts: tuple[str, str],
    seeing: tuple[LoadedClip, Rasterizer, Vector],
    control: Control,
    settings: RecolorSettings | None = None,
) -> np.ndarray:
    """Find the shift of every Gaussian's color that leads from one text to another.

    Args:
        part: n Gaussians, those that are to change.
        texts: what they look like and what they shall look like ("red box", "blue box").
        seeing: CLIP, the rasterizer, and the direction [3] away from the ground.
        control: progress and cancel.
        settings: steps, rate, seed.

    Returns:
        [n,3] float32, to be added to the colors (0..1), which it leads no further out of that range than they are.

    Raises:
        UserError: if there is too little to see, or the texts are empty or alike.
        Cancelled: if the control was cancelled.
    """
    import torch

    clip, raster, up = seeing
    settings = settings or RecolorSettings()
    away = _direction(clip, texts)
    if len(part) < _FEWEST:
        why = f"{len(part)} Gaussians are selected"
        raise UserError("There is too little to recolor", why, "Select a thing first", ErrorCode.BAD_SETTINGS)
    scenes = _seen(part, raster, up, clip, control)
    if not any(len(scene.ids) for scene in scenes):
        fix = "Select something that is to be seen"
        raise UserError("There is nothing to recolor", "the selection is transparent", fix, ErrorCode.BAD_SETTINGS)
    before = torch.stack([_encoded(clip, scene, torch.zeros(1, 3)).detach() for scene in scenes])
    room = _room(part)
    start = _start(clip, scenes[:: len(scenes) // _BATCH][:_BATCH], away)
    shift = start.repeat(len(part), 1).clamp(*room).requires_grad_()
    adam, random = torch.optim.Adam([shift], settings.rate), np.random.default_rng(settings.seed)
    for step in range(settings.steps):
        control.progress("recoloring", step, settings.steps)
        chosen = random.permutation(len(scenes))[:_BATCH]
        moved = torch.stack([_encoded(clip, scenes[i], shift) - before[i] for i in chosen])
        length = moved.norm(dim=1, keepdim=True)
        along = (moved / (length + _NEAR)) @ away
        detail = (shift - shift.mean(dim=0)).square().mean()
        loss = (1 - along).mean() - _FAR * (moved @ away).mean() + _DETAIL * detail
        control.loss = float(loss.detach())
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            shift.clamp_(*room)
    return shift.detach().numpy()


def _room(part: GaussianCloud) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and most [n,3] that the colors may shift: no further than black and full, where they can be seen to go.

    Beyond that nothing changes to the eye, and half of the way there would look like all of it.
    """
    import torch

    base = torch.tensor(0.5 + C0 * part.sh[:, 0])
    return (-base).clamp(max=0), (1 - base).clamp(min=0)


def _start(clip: LoadedClip, scenes: list[_Scene], away: torch.Tensor) -> torch.Tensor:
    """[1,3]: of the shifts to a few plain colors, and none, the one with which CLIP comes furthest.

    From red to blue the way leads through colors that are neither, and a small CLIP gets stuck there.
    """
    import torch

    mean = torch.stack([scene.base.mean(dim=0) for scene in scenes]).mean(dim=0)
    plain = torch.cartesian_prod(*3 * (torch.tensor(_PLAIN),))
    shifts = [torch.zeros(1, 3), *(color[None] - mean for color in plain)]
    with torch.no_grad():
        reached = [sum(float(_encoded(clip, scene, shift) @ away) for scene in scenes) for shift in shifts]
    return shifts[int(np.argmax(reached))].clone()


@dataclass(frozen=True, eq=False)
class _Scene:
    """A view of the part alone: its rows, entry by entry, and the colors [n,3] that it has from there."""

    pixels: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    base: torch.Tensor
    side: int

    def drawn(self, shift: torch.Tensor) -> torch.Tensor:
        """[1,3,side,side] the picture on black with the colors shifted by [n,3]."""
        seen = (self.base + shift)[self.ids] * self.weights
        picture = seen.new_zeros(self.side**2, 3).index_add(0, self.pixels, seen)
        return picture.clamp(0, 1).T.reshape(1, 3, self.side, self.side)


def _seen(part: GaussianCloud, raster: Rasterizer, up: Vector, clip: LoadedClip, control: Control) -> list[_Scene]:
    import torch

    scenes = []
    views = views_around(part, up, clip.side)
    for index, view in enumerate(views):
        control.progress("looking at the selection", index, len(views))
        rows = raster.contributions(part, view, all_pixels(view))
        base = torch.tensor(np.clip(colors(part, view.camera_position), 0, 1), dtype=torch.float32)
        owner = torch.as_tensor(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)))
        ids, weights = torch.as_tensor(rows.ids.astype(np.int64)), torch.as_tensor(rows.weights)[:, None]
        scenes.append(_Scene(owner, ids, weights, base, clip.side))
    return scenes


def _encoded(clip: LoadedClip, scene: _Scene, shift: torch.Tensor) -> torch.Tensor:
    """[D] CLIP's unit vector of a view with the colors shifted."""
    import torch

    device = clip.device
    picture = scene.drawn(shift).to(device)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (clip.config.mean, clip.config.std))
    return clip.model.encode_image((picture - mean) / std, normalize=True)[0].cpu()


def _direction(clip: LoadedClip, texts: tuple[str, str]) -> torch.Tensor:
    """[D] unit vector from the first text to the second."""
    import torch

    source, target = (text.strip() for text in texts)
    if not source or not target:
        raise UserError(
            "A text is missing", fix="Say what it looks like and what it shall look like", code=ErrorCode.BAD_TEXT
        )
    vectors = clip.encode_texts([source, target])
    away = vectors[1] - vectors[0]
    if source == target or np.linalg.norm(away) < 1e-4:
        raise UserError(
            "The two texts say the same", fix="Say what it shall look like instead", code=ErrorCode.BAD_TEXT
        )
    return torch.tensor(away / np.linalg.norm(away), dtype=torch.float32)
