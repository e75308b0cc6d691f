"""The CLIP architecture of a weights file: from a JSON beside it, else from the shapes of its tensors."""

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
"""Normalization of CLIP's pictures, as published; OpenCLIP's own models use the same."""


@dataclass(frozen=True)
class ClipConfig:
    """The configuration of a CLIP.

    Attributes:
        name: open_clip's name of the model, or the name of the JSON file.
        sizes: arguments of open_clip's class CLIP: embed_dim, vision_cfg, text_cfg, quick_gelu.
        mean, std: of its pictures' channels, 0..1.
    """

    name: str
    sizes: dict[str, Any]
    mean: tuple[float, ...] = _MEAN
    std: tuple[float, ...] = _STD


def find_config(path: Path, tensors: Mapping[str, torch.Tensor]) -> ClipConfig:
    """The configuration of a weights file.

    A JSON beside the file decides, NAME.json or open_clip_config.json: {"model": open_clip's name}, or
    {"model_cfg": {...}, "preprocess_cfg": {"mean", "std"}} as OpenCLIP publishes it.

    Raises:
        UserError: if the JSON is not readable, or the shapes fit no model of open_clip.
    """
    for beside in (path.with_suffix(".json"), path.with_name("open_clip_config.json")):
        if beside.is_file():
            return _from_json(beside)
    return _from_shapes(path, tensors)


def _from_json(beside: Path) -> ClipConfig:
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
        if "model" in content:
            return ClipConfig(str(content["model"]), _library_sizes(str(content["model"])))
        pictures = content.get("preprocess_cfg", {})
        mean, std = (
            tuple(float(v) for v in pictures.get(key, usual)) for key, usual in (("mean", _MEAN), ("std", _STD))
        )
        if len(mean) != 3 or len(std) != 3 or not all(v > 0 for v in std):
            raise ValueError("mean and std must have three numbers each")
        return ClipConfig(beside.stem, _validate(content.get("model_cfg", content)), mean, std)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{beside} does not describe a CLIP", str(error), FIX, ErrorCode.BAD_WEIGHTS) from error


def _library_sizes(name: str) -> dict[str, Any]:
    """The sizes of a model of open_clip.

    Raises:
        ValueError: if open_clip has no plain CLIP of this name.
    """
    import open_clip

    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        raise ValueError(f"open_clip has no model {name}")
    return _validate(config)


def _validate(config: dict[str, Any]) -> dict[str, Any]:
    """Validate a configuration: a plain CLIP of sane sizes. Others would load more than this file.

    Raises:
        ValueError, KeyError, TypeError: if not.
    """
    vision, text = dict(config["vision_cfg"]), dict(config["text_cfg"])
    unknown = (set(config) - _TOP) | (set(vision) - _VISION) | (set(text) - _TEXT)
    if unknown:
        raise ValueError(f"a plain CLIP has no {sorted(unknown)[0]}")
    stages = vision["layers"] if isinstance(vision["layers"], list) else [vision["layers"]]  # a ResNet has four
    numbers = [config["embed_dim"], *stages, *text.values(), *(vision[key] for key in vision if key != "layers")]
    if not all(isinstance(number, int | float) and 0 < number <= _MOST for number in numbers):
        raise ValueError("its sizes must be positive numbers")
    if len(stages) not in (1, 4) or max(*stages, text["layers"]) > _MOST_LAYERS:
        raise ValueError("it has too many layers")
    return {**config, "vision_cfg": vision, "text_cfg": text}


def _from_shapes(path: Path, tensors: Mapping[str, torch.Tensor]) -> ClipConfig:
    """The model of open_clip with tensors of these shapes.

    QuickGELU does not change the shapes, so a model with it is chosen only if the file name says so.
    """
    import open_clip

    matches = [name for name in open_clip.list_models() if name.startswith("ViT-") and _fits(name, tensors)]
    quick = [name for name in matches if name.endswith("-quickgelu")]
    candidates = (
        quick if "quickgelu" in path.name.lower() and quick else [name for name in matches if name not in quick]
    )
    if not candidates:
        why = "the names or shapes of its tensors fit no model of open_clip"
        fix = f"{FIX}, or put a JSON with its configuration beside it"
        raise UserError(f"The weights {path} are not CLIP's", why, fix, ErrorCode.BAD_WEIGHTS)
    return ClipConfig(candidates[0], _library_sizes(candidates[0]))


def _fits(name: str, tensors: Mapping[str, torch.Tensor]) -> bool:
    try:
        config = _library_sizes(name)
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
