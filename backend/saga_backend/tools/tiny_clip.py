"""A tiny OpenCLIP model for machines without real weights, fitted in minutes to pictures of synthetic objects.

It replaces ViT-B/16 so that the whole path from a text to a selection can run and be measured. It knows the objects of
the standard synthetic scene and nothing else; its results say nothing about the quality of CLIP. Its training scenes
are of the same kind, with seeds that no evaluation uses.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from blender_saga.gaussians.sh import colors

from ..common.progress import Control
from ..evaluation.captions import caption, color_names, composite, part_colors, shape_of, vocabulary
from ..evaluation.simulated import MaskDamage, label_maps, simulate_masks
from ..evaluation.synthetic import LabeledScene, standard_scene
from ..rasterizer.cpu import all_pixels, contributions, render
from ..text.clip_config import ClipConfig
from ..text.clip_model import LoadedClip, build
from ..text.cluster_renders import views_around
from ..text.crops import masked_crops
from ..text.relevancy import CANONICAL

FIRST_SEED = 1_000_000
"""The training scenes have this seed and the following ones."""
FLOOR = "floor"
ORDERS = tuple(itertools.permutations(range(3)))
_DAMAGE = MaskDamage(dropped=0.0, merged=0.15, split=0.15)
_SHARE = 0.12  # share of a mask's pixels that a part needs for a place in the caption
_TEMPLATES = ("{}", "a {}", "the {}")
_SHARPNESS, _MARGIN = 10.0, 1.0  # of the relevancy in the loss
_COMPOSITES = 24  # captions of several parts in a batch, at most


@dataclass(frozen=True)
class TinySettings:
    """Size of the model, and settings of the fit.

    Attributes:
        side: side of the pictures, pixels.
        width, embed: channels of the first layer, and length of a vector.
        text_width, text_layers: width and layers of the text encoder.
        scenes, objects, views: number of training scenes, of objects in a scene, and of views of a scene.
        alone: pictures of each part without the rest of its scene.
        steps, batch, rate: steps, batch size and learning rate of the optimizer.
        seed: seed of the initial weights and of the batches.
    """

    side: int = 48
    width: int = 8
    embed: int = 48
    text_width: int = 48
    text_layers: int = 2
    scenes: int = 24
    objects: int = 12
    views: int = 4
    alone: int = 2
    steps: int = 1200
    batch: int = 96
    rate: float = 3e-3
    seed: int = 0

    def config(self) -> ClipConfig:
        """The configuration for the classes of open_clip.

        The image encoder is a ResNet: from the same data, a transformer of this size learned colors but no shapes.
        """
        vision = {"image_size": self.side, "width": self.width, "layers": [1, 1, 1, 1], "head_width": 32}
        text = {
            "context_length": 16, "vocab_size": 49408, "width": self.text_width, "heads": self.text_width // 16,
            "layers": self.text_layers,
        }  # fmt: skip
        sizes = {"embed_dim": self.embed, "vision_cfg": vision, "text_cfg": text}
        return ClipConfig("tiny CLIP of synthetic things", sizes)


@dataclass(frozen=True, eq=False)
class CaptionedPictures:
    """Pictures and their captions.

    Attributes:
        pictures: [P,side,side,3] uint8.
        captions: for each order of the channels in ORDERS, the captions of all pictures: six times as many colors.
    """

    pictures: np.ndarray
    captions: list[list[str]]


def draw_objects(settings: TinySettings, control: Control | None = None) -> CaptionedPictures:
    """Draw crops of parts and whole objects from training scenes, with the errors of a segmenter."""
    control, pictures, parts = control or Control(), [], []
    for number in range(settings.scenes):
        control.progress("drawing objects", number, settings.scenes)
        random = np.random.default_rng([settings.seed, number])
        scene = standard_scene(settings.objects, settings.views, FIRST_SEED + number)
        tints = part_colors(scene.cloud, scene.labels[:, 1])
        for view in scene.views:
            rows = contributions(scene.cloud, view, all_pixels(view))
            rgb = rows.blend(colors(scene.cloud, view.camera_position)).reshape(view.height, view.width, 3)
            maps = label_maps(rows, scene.labels, view.height, view.width)
            masks = list(simulate_masks(maps, _DAMAGE, random))
            ground = (maps[1] == 0) & (rows.alphas().reshape(view.height, view.width) > 0.5)
            pictures.append(masked_crops(rgb, [*masks, ground], settings.side))
            parts += [_largest_parts(maps[1][mask], tints) for mask in [*masks, ground]]
        for part in range(1, len(tints) + 1):
            pictures.append(_draw_alone(scene, part, settings, random))
            parts += [[(shape_of(part), tints[part - 1])]] * settings.alone
    return CaptionedPictures(np.concatenate(pictures), [_captions(parts, order) for order in ORDERS])


def _captions(parts: list[list[tuple[str, np.ndarray]]], order: tuple[int, ...]) -> list[str]:
    """The captions of pictures with a given order of the channels.

    Args:
        parts: for each picture, the shapes and colors [3] of its parts.
        order: of the channels.
    """
    flat = [color[list(order)] for found in parts for _, color in found]
    names = iter(color_names(np.array(flat)))
    return [composite([caption(next(names), shape) for shape, _ in found]) if found else FLOOR for found in parts]


def _draw_alone(scene: LabeledScene, part: int, settings: TinySettings, random: np.random.Generator) -> np.ndarray:
    """[alone,side,side,3] uint8: pictures of a part alone, as in the search by clusters."""
    own = scene.cloud.take(np.flatnonzero(scene.labels[:, 1] == part))
    views = views_around(own, (0.0, -1.0, 0.0), 2 * settings.side)
    pictures = [render(own, views[i]) for i in random.choice(len(views), settings.alone, replace=False)]
    return np.concatenate([masked_crops(p.rgb, [p.alpha > 0.3], settings.side) for p in pictures])


def _largest_parts(shown: np.ndarray, tints: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Shapes and colors [3] of the parts with enough of the pixels, largest first."""
    counts = np.bincount(shown[shown > 0], minlength=len(tints) + 1)
    order = np.argsort(-counts, kind="stable")
    return [(shape_of(int(p)), tints[p - 1]) for p in order if counts[p] > _SHARE * len(shown)]


def fit(settings: TinySettings | None = None, control: Control | None = None) -> LoadedClip:
    """Draw objects and fit a model to them; this takes a few minutes on 2 cores.

    Raises:
        Cancelled: if the control was cancelled.
    """
    settings, control = settings or TinySettings(), control or Control()
    return fit_to(draw_objects(settings, control), settings, control)


def fit_to(data: CaptionedPictures, settings: TinySettings, control: Control) -> LoadedClip:
    """Fit a model to captioned pictures.

    Raises:
        Cancelled: if the control was cancelled.
    """
    random = np.random.default_rng(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = build(settings.config())
    loaded = LoadedClip(model.train(), settings.config(), "unsaved")
    optimizer = torch.optim.AdamW(model.parameters(), settings.rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.rate, settings.steps, pct_start=0.1)
    for step in range(settings.steps):
        control.progress("fitting", step, settings.steps)
        loss = _loss(loaded, data, settings.batch, random)
        control.loss = loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
    model.requires_grad_(False).eval()
    return loaded


def _loss(loaded: LoadedClip, data: CaptionedPictures, batch: int, random: np.random.Generator) -> torch.Tensor:
    """The loss of one batch with a random order of the channels.

    It is the cross entropy of CLIP against the whole vocabulary instead of the captions of the batch, plus two terms:
    they pull the relevancy of right captions above one half and of wrong captions below. Wrong captions that share a
    word with the right one count most.
    """
    order = int(random.integers(len(ORDERS)))
    chosen = random.choice(len(data.pictures), min(batch, len(data.pictures)), replace=False)
    shown = [data.captions[order][i] for i in chosen]
    others = sorted({text for text in shown if " with " in text})[:_COMPOSITES]
    texts = [*vocabulary(), FLOOR, *others]
    right = torch.tensor([[float(text == caption) for text in texts] for caption in shown])
    near = torch.tensor([[_likeness(text, caption) for text in texts] for caption in shown])
    template = _TEMPLATES[random.integers(len(_TEMPLATES))]
    pictures = data.pictures[chosen][..., list(ORDERS[order])]
    pictures = np.where(random.random((len(chosen), 1, 1, 1)) < 0.5, pictures[:, :, ::-1], pictures)
    images = loaded.model.encode_image(loaded.prepare(pictures), normalize=True)
    words = loaded.model.encode_text(
        loaded.tokens([template.format(text) for text in texts] + list(CANONICAL)), normalize=True
    )
    alike = images @ words.T
    known = right.sum(dim=1) > 0  # the other pictures show composites beyond _COMPOSITES: no text is right for them
    entropy = F.cross_entropy(loaded.model.logit_scale.exp() * alike[known], F.pad(right[known], (0, len(CANONICAL))))
    lead = _SHARPNESS * (alike[:, : len(texts)] - alike[:, len(texts) :].max(dim=1, keepdim=True).values)
    accept = (F.softplus(_MARGIN - lead) * right).sum() / right.sum()
    refuse = (F.softplus(_MARGIN + lead) * near).sum() / near.sum()
    return entropy + accept + refuse


def _likeness(text: str, caption: str) -> float:
    """The weight of a wrong caption: larger if it shares a word with the right one; 0 for the right one."""
    if text == caption:
        return 0.0
    return 1.0 if set(text.split()) & set(caption.split()) else 0.2


def save(loaded: LoadedClip, path: Path) -> None:
    """Write the weights with torch.save, and their configuration to a JSON file with the same name."""
    config = path.with_suffix(".json")
    config.write_text(json.dumps({"model_cfg": loaded.config.sizes}, indent=1), encoding="utf-8")
    torch.save(loaded.model.state_dict(), path)
