"""A loaded CLIP, which encodes pictures and texts as unit vectors of one space (OpenCLIP's classes)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blender_saga.errors import ErrorCode, UserError

from .clip_config import ClipConfig, find_config
from .clip_files import FIX, read_weights

if TYPE_CHECKING:
    import torch
    from open_clip.model import CLIP

_BATCH = 32


@dataclass(frozen=True, eq=False)
class LoadedClip:
    """A model with its weights.

    Attributes:
        model: open_clip's model.
        config: its architecture.
        identity: of the weights; vectors of another identity are not comparable.
        device: "cpu" or "cuda".
    """

    model: CLIP
    config: ClipConfig
    identity: str
    device: str = "cpu"

    @property
    def side(self) -> int:
        """Width and height of its pictures, pixels."""
        return int(self.config.sizes["vision_cfg"]["image_size"])

    @property
    def width(self) -> int:
        """D, the length of a vector."""
        return int(self.config.sizes["embed_dim"])

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        """[P,D] float32 unit vectors of pictures [P,side,side,3] uint8, sRGB."""
        import torch

        parts = [np.zeros((0, self.width), np.float32)]
        with torch.inference_mode():
            for begin in range(0, len(pictures), _BATCH):
                vectors = self.model.encode_image(self.prepare(pictures[begin : begin + _BATCH]), normalize=True)
                parts.append(vectors.float().cpu().numpy())
        return np.concatenate(parts)

    def prepare(self, pictures: np.ndarray) -> torch.Tensor:
        """[P,3,side,side] float32: pictures [P,side,side,3] uint8 as the model's input."""
        import torch

        raw = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (self.config.mean, self.config.std))
        return (raw - mean) / std

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """[T,D] float32 unit vectors."""
        import torch

        with torch.inference_mode():
            return self.model.encode_text(self.tokens(texts), normalize=True).float().cpu().numpy()

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """[T,C] int64: tokens of open_clip's tokenizer, cut off at the context length."""
        length = int(self.config.sizes["text_cfg"].get("context_length", 77))
        return _tokenizer(length)(list(texts)).to(self.device)


@functools.lru_cache(maxsize=1)
def _load_cached(path: str, stamp: tuple[int, int], device: str) -> LoadedClip:
    return open_clip_file(Path(path), device)


def shared_clip(path: Path, device: str = "cpu") -> LoadedClip:
    """`open_clip_file` with a cache of one: the same object as long as the file is unchanged.

    Raises:
        UserError: see open_clip_file.
    """
    try:
        stat = path.stat()
    except OSError as error:
        why = error.strerror or str(error)
        raise UserError(f"The CLIP weights {path} cannot be read", why, FIX, ErrorCode.BAD_WEIGHTS) from error
    return _load_cached(str(path.resolve()), (stat.st_size, stat.st_mtime_ns), device)


def open_clip_file(path: Path, device: str = "cpu") -> LoadedClip:
    """Open a weights file; its structure is verified before the model is built.

    Raises:
        UserError: if it is missing, truncated or no CLIP.
    """
    tensors = read_weights(path)
    config = find_config(path, tensors)
    _verify(config, tensors, path)
    model = build(config)
    model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return LoadedClip(model.requires_grad_(False).eval().to(device), config, _identity(tensors), device)


def build(config: ClipConfig) -> CLIP:
    """A model of these sizes with random weights.

    Raises:
        ValueError, TypeError, AssertionError, RuntimeError, ZeroDivisionError: if the sizes are inconsistent.
    """
    from open_clip.model import CLIP

    return CLIP(**config.sizes)


def _verify(config: ClipConfig, tensors: dict[str, torch.Tensor], path: Path) -> None:
    import torch

    bad = f"The weights {path} are not those of {config.name}"
    try:
        with torch.device("meta"):  # shapes only: no memory is allocated before they fit
            expected = build(config).state_dict()
    except (ValueError, TypeError, AssertionError, RuntimeError, ZeroDivisionError) as error:
        raise UserError(bad, f"its sizes are inconsistent ({error})", FIX, ErrorCode.BAD_WEIGHTS) from error
    wrong = [name for name in expected if name not in tensors] or [name for name in tensors if name not in expected]
    wrong = wrong or [name for name, tensor in tensors.items() if tensor.shape != expected[name].shape]
    if wrong:
        why = f"{len(wrong)} tensors are missing, unexpected or of another shape, for example {wrong[0]}"
        raise UserError(bad, why, FIX, ErrorCode.BAD_WEIGHTS)
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor.float()).all()]
    if broken:
        raise UserError(bad, f"{broken[0]} has numbers that are not finite", FIX, ErrorCode.BAD_WEIGHTS)


def _identity(tensors: dict[str, torch.Tensor]) -> str:
    """16 hexadecimal digits of all weights, independent of the file format."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@functools.lru_cache(maxsize=4)
def _tokenizer(length: int):
    from open_clip.tokenizer import SimpleTokenizer  # the package contains its vocabulary: no network

    return SimpleTokenizer(context_length=length)
