"""Which CLIP a file of weights is: told by a JSON beside it, else recognized by the shapes of its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blender_saga.errors import ErrorCode, UserError

from .clip_files import FIX

if TYPE_CHECKING:
    import torch

_VISION = {"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"}
_TEXT = {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"}
_TOP = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
_MOST = 1 << 20  # of any number in a configuration
_MOST_LAYERS = 256
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's pictures, as published with it; OpenCLIP's own models use the same."""


@dataclass(frozen=True)
class ClipConfig:
    """What a CLIP is built from.

    Attributes:
        name: open_clip's name of the model, or that of the file that tells.
        sizes: arguments of open_clip's class CLIP: embed_dim, vision_cfg, text_cfg, quick_gelu.
        mean, std: of its pictures' channels, 0..1.
    """

    name: str
    sizes: dict[str, Any]
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD


def config_of(path: Path, tensors: Mapping[str, torch.Tensor]) -> ClipConfig:
    """The configuration of a file's model.

    A JSON beside the file decides, NAME.json or open_clip_config.json: {"model": open_clip's name of it}, or
    {"model_cfg": {...}, "preprocess_cfg": {"mean", "std"}} as OpenCLIP publishes it.

    Raises:
        UserError: if the JSON is not understood, or the shapes are those of no model that open_clip knows.
    """
    for beside in (path.with_suffix(".json"), path.with_name("open_clip_config.json")):
        if beside.is_file():
            return _told(beside)
    return _recognized(path, tensors)


def _told(beside: Path) -> ClipConfig:
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        if "model" in content:
            return ClipConfig(str(content["model"]), _named(str(content["model"])))
        pictures = content.get("preprocess_cfg", {})
        mean, std = (
            tuple(float(v) for v in pictures.get(key, usual)) for key, usual in (("mean", _MEAN), ("std", _STD))
        )
        if len(mean) != 3 or len(std) != 3 or not all(v > 0 for v in std):
            raise ValueError("mean and std are three numbers each")
        return ClipConfig(beside.stem, _checked(content.get("model_cfg", content)), mean, std)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{beside} does not describe a CLIP", str(error), FIX, ErrorCode.BAD_WEIGHTS) from error


def _named(name: str) -> dict[str, Any]:
    """Raises ValueError for a name that is no plain CLIP of open_clip."""
    import open_clip

    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise ValueError(f"open_clip knows no model {name}")
    return _checked(config)


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, if it is a plain CLIP of sane sizes; others would load more than this file.

    Raises:
        ValueError, KeyError, TypeError: if not.
    """
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    unknown = (set(config) - _TOP) | (set(vision) - _VISION) | (set(text) - _TEXT)
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]} is not of a plain CLIP")
    stages = vision["layers"] if isinstance(vision["layers"], list) else [vision["layers"]]  # a ResNet's are four
    numbers = [config["embed_dim"], *stages, *text.values(), *(vision[key] for key in vision if key != "layers")]
    if not all(isinstance(number, int | float) and 0 < number <= _MOST for number in numbers):
        raise ValueError("its sizes are not positive numbers")
    if len(stages) not in (1, 4) or max(*stages, text["layers"]) > _MOST_LAYERS:
        raise ValueError("it has too many layers")
    return {**config, "vision_cfg": vision, "text_cfg": text}


def _recognized(path: Path, tensors: Mapping[str, torch.Tensor]) -> ClipConfig:
    """The model of open_clip whose tensors have these shapes.

    Models with QuickGELU have the shapes of those without: they are taken only where the file's name says so.
    """
    import open_clip

    found = [name for name in open_clip.list_models() if name.startswith("ViT-") and _alike(name, tensors)]
    quick = [name for name in found if name.endswith("-quickgelu")]
    wanted = quick if "quickgelu" in path.name.lower() and quick else [name for name in found if name not in quick]
    if not wanted:
        why = "its tensors have the names or shapes of no model that open_clip knows"
        fix = f"{FIX}, or put a JSON with its configuration beside it"
        raise UserError(f"The weights {path} are not CLIP's", why, fix, ErrorCode.BAD_WEIGHTS)
    return ClipConfig(wanted[0], _named(wanted[0]))


def _alike(name: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    try:
        config = _named(name)
    except (ValueError, KeyError, TypeError):
        return False
    vision, text, embed = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    shapes = {
        "visual.conv1.weight": (vision["width"], 3, vision["patch_size"], vision["patch_size"]),
        "visual.positional_embedding": (patches + 1, vision["width"]),
        "visual.proj": (vision["width"], embed),
        f"visual.transformer.resblocks.{vision['layers'] - 1}.ln_1.weight": (vision["width"],),
        "token_embedding.weight": (text["vocab_size"], text["width"]),
        "positional_embedding": (text["context_length"], text["width"]),
        "text_projection": (text["width"], embed),
        f"transformer.resblocks.{text['layers'] - 1}.ln_1.weight": (text["width"],),
    }
    return all(key in tensors and tuple(tensors[key].shape) == shape for key, shape in shapes.items())
