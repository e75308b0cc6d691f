"""Text-driven edit (Click-Gaussian section 4.4): CLIP moves the colors of some Gaussians from one text to another.

The geometry is frozen, so the blending weights of every view are constant: a picture is a sparse product of the rows
and the colors, and the fit rasterizes nothing. The fit finds a shift of each Gaussian's color, the same from all sides.
The shift is linear, so any share of it can be applied: the strength of the edit.

The loss is CLIP's directional loss (Gal et al. 2021, StyleGAN-NADA): the vectors of the pictures move in the direction
of the texts. It ignores the distance, so a second term rewards the distance in that direction.
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
from .clip_model import LoadedClip
from .cluster_renders import ClipRenderer, views_around

if TYPE_CHECKING:
    import torch

_FEWEST = 20  # Gaussians
_NEAR = 0.05  # added to the length of a move: the direction of a tiny move is noise
_BATCH = 3  # views a step
_PLAIN = (0.1, 0.5, 0.9)  # red, green and blue of the colors to start from
_FAR = 1.0  # weight of the distance of the pictures, relative to their direction
_DETAIL = 100.0  # weight that keeps the shifts of all Gaussians similar: otherwise they fit noise that only CLIP sees


@dataclass(frozen=True)
class RecolorSettings:
    """Settings of the fit.

    Attributes:
        steps: optimizer steps.
        rate: learning rate of Adam, color units 0..1 a step.
        seed: of the order of the views.
    """

    steps: int = 80
    rate: float = 0.02
    seed: int = 0


def recolor(
    part: GaussianCloud,
    texts: tuple[str, str],
    renderer: ClipRenderer,
    control: Control,
    settings: RecolorSettings | None = None,
) -> np.ndarray:
    """Find the shift of every Gaussian's color that leads from one text to another.

    Args:
        part: the n Gaussians to change.
        texts: their current look and the desired look ("red box", "blue box").
        renderer: draws and encodes the pictures.
        control: progress and cancel.
        settings: steps, rate, seed.

    Returns:
        [n,3] float32, the shift to add to the colors (0..1). It moves no color further out of that range.

    Raises:
        UserError: if too little is visible, or the texts are empty or alike.
        Cancelled: if the control was cancelled.
    """
    import torch

    clip = renderer.clip
    settings = settings or RecolorSettings()
    away = _direction(clip, texts)
    if len(part) < _FEWEST:
        why = f"{len(part)} Gaussians are selected"
        raise UserError("There is too little to recolor", why, "Select an object first", ErrorCode.BAD_SETTINGS)
    scenes = _rasterize(part, renderer, control)
    if not any(len(scene.ids) for scene in scenes):
        fix = "Select something visible"
        raise UserError("There is nothing to recolor", "the selection is transparent", fix, ErrorCode.BAD_SETTINGS)
    before = torch.stack([_encode(clip, scene, torch.zeros(1, 3)).detach() for scene in scenes])
    limits = _shift_limits(part)
    start = _start(clip, scenes[:: len(scenes) // _BATCH][:_BATCH], away)
    shift = start.repeat(len(part), 1).clamp(*limits).requires_grad_()
    adam, random = torch.optim.Adam([shift], settings.rate), np.random.default_rng(settings.seed)
    for step in range(settings.steps):
        control.progress("recoloring", step, settings.steps)
        chosen = random.permutation(len(scenes))[:_BATCH]
        moved = torch.stack([_encode(clip, scenes[i], shift) - before[i] for i in chosen])
        length = moved.norm(dim=1, keepdim=True)
        along = (moved / (length + _NEAR)) @ away
        detail = (shift - shift.mean(dim=0)).square().mean()
        loss = (1 - along).mean() - _FAR * (moved @ away).mean() + _DETAIL * detail
        control.loss = float(loss.detach())
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            shift.clamp_(*limits)
    return shift.detach().numpy()


def _shift_limits(part: GaussianCloud) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper limit [n,3] of the shifts, from black to full color.

    A shift beyond them would be invisible, and half of its strength would look like all of it.
    """
    import torch

    base = torch.tensor(0.5 + C0 * part.sh[:, 0])
    return (-base).clamp(max=0), (1 - base).clamp(min=0)


def _start(clip: LoadedClip, scenes: list[_Scene], away: torch.Tensor) -> torch.Tensor:
    """[1,3]: the best start for CLIP among no shift and the shifts to a few plain colors.

    The way from red to blue passes through other colors, where a small CLIP gets stuck.
    """
    import torch

    mean = torch.stack([scene.base.mean(dim=0) for scene in scenes]).mean(dim=0)
    plain = torch.cartesian_prod(*3 * (torch.tensor(_PLAIN),))
    shifts = [torch.zeros(1, 3), *(color[None] - mean for color in plain)]
    with torch.no_grad():
        reached = [sum(float(_encode(clip, scene, shift) @ away) for scene in scenes) for shift in shifts]
    return shifts[int(np.argmax(reached))].clone()


@dataclass(frozen=True, eq=False)
class _Scene:
    """A view of the part alone: the entries of its rows, and its colors [n,3] from there."""

    pixels: torch.Tensor
    ids: torch.Tensor
    weights: torch.Tensor
    base: torch.Tensor
    side: int

    def draw(self, shift: torch.Tensor) -> torch.Tensor:
        """[1,3,side,side]: the picture on black with the colors shifted by [n,3]."""
        entries = (self.base + shift)[self.ids] * self.weights
        picture = entries.new_zeros(self.side**2, 3).index_add(0, self.pixels, entries)
        return picture.clamp(0, 1).T.reshape(1, 3, self.side, self.side)


def _rasterize(part: GaussianCloud, renderer: ClipRenderer, control: Control) -> list[_Scene]:
    import torch

    scenes, side = [], renderer.clip.side
    views = views_around(part, renderer.up, side)
    for index, view in enumerate(views):
        control.progress("looking at the selection", index, len(views))
        rows = renderer.raster.contributions(part, view, all_pixels(view))
        base = torch.tensor(np.clip(colors(part, view.camera_position), 0, 1), dtype=torch.float32)
        owner = torch.as_tensor(np.repeat(np.arange(len(rows)), np.diff(rows.offsets)))
        ids, weights = torch.as_tensor(rows.ids.astype(np.int64)), torch.as_tensor(rows.weights)[:, None]
        scenes.append(_Scene(owner, ids, weights, base, side))
    return scenes


def _encode(clip: LoadedClip, scene: _Scene, shift: torch.Tensor) -> torch.Tensor:
    """[D]: CLIP's unit vector of a view with shifted colors."""
    import torch

    device = clip.device
    picture = scene.draw(shift).to(device)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (clip.config.mean, clip.config.std))
    return clip.model.encode_image((picture - mean) / std, normalize=True)[0].cpu()


def _direction(clip: LoadedClip, texts: tuple[str, str]) -> torch.Tensor:
    """[D]: unit vector from the first text to the second."""
    import torch

    source, target = (text.strip() for text in texts)
    if not source or not target:
        raise UserError("A text is missing", fix="Describe the current look and the new look", code=ErrorCode.BAD_TEXT)
    vectors = clip.encode_texts([source, target])
    away = vectors[1] - vectors[0]
    if source == target or np.linalg.norm(away) < 1e-4:
        raise UserError("The two texts mean the same", fix="Describe a different look", code=ErrorCode.BAD_TEXT)
    return torch.tensor(away / np.linalg.norm(away), dtype=torch.float32)
