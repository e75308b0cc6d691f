"""Segment Anything models from weights files. The structure of a file is verified before a model is built.

The shapes of the tensors give the sizes of the network, so vit_h, vit_l, vit_b and any other width of the same classes
work. The shapes do not give the number of heads in the decoder, which is the same in all published models.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blender_saga.errors import ErrorCode, UserError

from ...common.progress import Control
from ...common.safe_arrays import check_tensor
from .weights import check_official, sha256_of

if TYPE_CHECKING:
    import torch
    from segment_anything.modeling import Sam

_KINDS = {(1280, 32): "vit_h", (1024, 24): "vit_l", (768, 12): "vit_b"}
_DECODER_HEADS = 8
_MEAN, _STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_FIX = "Choose a weights file of Segment Anything, for example sam_vit_b_01ec64.pth"
_SAM2_FIX = "Run SAM 2 yourself and choose the folder of its masks"
_MAX_ELEMENTS = 2_000_000_000
_BUFFERS = ("pixel_mean", "pixel_std")  # not part of published files


@dataclass(frozen=True)
class SamShape:
    """The sizes of a SAM; `window` in patches, `image` and `patch` in pixels of the input picture."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]
    window: int
    mlp: int
    image: int
    patch: int
    prompt: int
    mask_channels: int
    decoder_depth: int
    decoder_mlp: int
    masks: int
    iou_depth: int
    iou_width: int

    @property
    def kind(self) -> str:
        """ "vit_h", "vit_l", "vit_b", or the width and depth of another encoder."""
        return _KINDS.get((self.width, self.depth), f"ViT of width {self.width} and {self.depth} layers")


@dataclass(frozen=True, eq=False)
class LoadedSam:
    """A model, its sizes, and the SHA-256 of its weights file, which identifies its masks."""

    model: Sam
    shape: SamShape
    sha256: str


def chosen_file(weights: str) -> Path:
    """The path of the weights file in a message.

    Raises:
        UserError: if the message has no path.
    """
    if not weights:
        fix = "Choose a weights file in the preferences, or download one there"
        raise UserError("Segment Anything has no weights", "no file is chosen", fix, ErrorCode.BAD_WEIGHTS)
    return Path(weights)


@functools.lru_cache(maxsize=1)
def _cached(path: str, stamp: tuple[int, int], device: str) -> LoadedSam:
    return open_sam(Path(path), device)


def shared_sam(path: Path, device: str) -> LoadedSam:
    """`open_sam` with a cache of one model; an unchanged file gives the same object.

    Raises:
        UserError: see open_sam.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(
            f"The weights {path} cannot be read", error.strerror or str(error), _FIX, ErrorCode.BAD_WEIGHTS
        ) from error
    return _cached(str(path.resolve()), (stat.st_size, stat.st_mtime_ns), device)


def open_sam(path: Path, device: str = "cpu", control: Control | None = None) -> LoadedSam:
    """Open a weights file.

    Args:
        path: the file.
        device: "cpu" or "cuda".
        control: progress and cancellation of the check.

    Raises:
        UserError: if the file is missing, truncated or not a SAM, or has an official name and different content.
        Cancelled: if the control was cancelled.
    """
    tensors = read_weights(path)
    shape = shape_of(tensors, path)
    sha256 = sha256_of(path, control)
    check_official(path, sha256)
    return LoadedSam(_load(shape, tensors, path).to(device), shape, sha256)


def open_sam_content(path: Path, data: bytes | memoryview, sha256: str, device: str) -> LoadedSam:
    """`open_sam` for the content of a file with a known SHA-256; `path` is for error messages.

    Raises:
        UserError: see open_sam.
    """
    tensors = read_weights(path, data)
    shape = shape_of(tensors, path)
    return LoadedSam(_load(shape, tensors, path).to(device), shape, sha256)


def read_weights(path: Path, data: bytes | memoryview | None = None) -> dict[str, torch.Tensor]:
    """The tensors of a file by name; their data is read at first use.

    Args:
        path: the file.
        data: content of a file that is not on this disk.

    Raises:
        UserError: if the file cannot be read or has more than plain tensors.
    """
    import torch

    if data is None and not path.is_file():
        raise UserError(f"The weights {path} cannot be read", "there is no such file", _FIX, ErrorCode.BAD_WEIGHTS)
    try:
        source = path if data is None else io.BytesIO(data)
        content = torch.load(source, map_location="cpu", weights_only=True, mmap=True if data is None else None)
    except Exception as error:  # torch.load raises many types of errors
        why = "it is truncated, or not a file of plain tensors"
        raise UserError(f"The weights {path} cannot be read", why, _FIX, ErrorCode.BAD_WEIGHTS) from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise UserError(f"The weights {path} are not SAM's", "it has no tensors by name", _FIX, ErrorCode.BAD_WEIGHTS)
    try:
        return {name: check_tensor(tensor) for name, tensor in content.items()}
    except ValueError as error:
        raise UserError(f"The weights {path} are not SAM's", str(error), _FIX, ErrorCode.BAD_WEIGHTS) from error


def shape_of(tensors: Mapping[str, torch.Tensor], path: Path) -> SamShape:
    """The sizes of a model, from the shapes of its tensors.

    Raises:
        UserError: if the tensors are not a SAM.
    """
    names = set(tensors)
    if any(name.startswith(("image_encoder.trunk.", "memory_encoder.")) for name in names):
        why = "they belong to SAM 2, which this program does not run"
        raise UserError(f"The weights {path} cannot be used", why, _SAM2_FIX, ErrorCode.BAD_WEIGHTS)
    try:
        shape = _read_shape(tensors)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        why = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else "its tensors have other shapes"
        raise UserError(f"The weights {path} are not SAM's", why, _FIX, ErrorCode.BAD_WEIGHTS) from error
    if sum(tensor.numel() for tensor in tensors.values()) > _MAX_ELEMENTS:
        raise UserError(
            f"The weights {path} are not SAM's", "the file has too many numbers", _FIX, ErrorCode.BAD_WEIGHTS
        )
    return shape


def _read_shape(tensors: Mapping[str, torch.Tensor]) -> SamShape:
    width, _, patch, _ = tensors["image_encoder.patch_embed.proj.weight"].shape
    grid = tensors["image_encoder.pos_embed"].shape[1]
    depth = _count(tensors, r"image_encoder\.blocks\.(\d+)\.norm1\.weight")
    sides = [tensors[f"image_encoder.blocks.{b}.attn.rel_pos_h"].shape[0] for b in range(depth)]
    head = tensors["image_encoder.blocks.0.attn.rel_pos_h"].shape[1]
    windows = {(side + 1) // 2 for side in sides if side != 2 * grid - 1}
    if len(windows) > 1 or width % head:
        raise ValueError("windows of several sizes")
    iou = _count(tensors, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\.weight")
    return SamShape(
        width=width,
        depth=depth,
        heads=width // head,
        global_blocks=tuple(b for b, side in enumerate(sides) if side == 2 * grid - 1),
        window=windows.pop() if windows else grid,
        mlp=tensors["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        image=grid * patch,
        patch=patch,
        prompt=tensors["image_encoder.neck.0.weight"].shape[0],
        mask_channels=tensors["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        decoder_depth=_count(tensors, r"mask_decoder\.transformer\.layers\.(\d+)\.norm1\.weight"),
        decoder_mlp=tensors["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        masks=tensors["mask_decoder.mask_tokens.weight"].shape[0] - 1,
        iou_depth=iou,
        iou_width=tensors["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
    )


def _count(tensors: Mapping[str, torch.Tensor], pattern: str) -> int:
    """The number of layers in the tensor names; the group of the pattern is the layer number, from 0."""
    numbers = {int(match[1]) for name in tensors if (match := re.fullmatch(pattern, name))}
    if not numbers or numbers != set(range(len(numbers))):
        raise ValueError("layers are missing")
    return len(numbers)


def build(shape: SamShape) -> Sam:
    """Build a model of these sizes, without weights."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    grid = shape.image // shape.patch
    encoder = ImageEncoderViT(
        depth=shape.depth, embed_dim=shape.width, img_size=shape.image, mlp_ratio=shape.mlp / shape.width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), num_heads=shape.heads, patch_size=shape.patch, qkv_bias=True,
        use_rel_pos=True, global_attn_indexes=shape.global_blocks, window_size=shape.window, out_chans=shape.prompt,
    )  # fmt: skip
    prompts = PromptEncoder(
        embed_dim=shape.prompt, image_embedding_size=(grid, grid), input_image_size=(shape.image, shape.image),
        mask_in_chans=shape.mask_channels,
    )  # fmt: skip
    transformer = TwoWayTransformer(
        depth=shape.decoder_depth, embedding_dim=shape.prompt, mlp_dim=shape.decoder_mlp, num_heads=_DECODER_HEADS
    )
    decoder = MaskDecoder(
        num_multimask_outputs=shape.masks, transformer=transformer, transformer_dim=shape.prompt,
        iou_head_depth=shape.iou_depth, iou_head_hidden_dim=shape.iou_width,
    )  # fmt: skip
    return Sam(encoder, prompts, decoder, pixel_mean=list(_MEAN), pixel_std=list(_STD)).eval()


def _load(shape: SamShape, tensors: dict[str, torch.Tensor], path: Path) -> Sam:
    import torch

    with torch.device("meta"):  # shapes only: no memory is allocated before the shapes are verified
        model = build(shape)
    expected = model.state_dict()
    weights = {name: tensor for name, tensor in tensors.items() if name not in _BUFFERS}
    misfits = [name for name in weights if name not in expected] or [name for name in expected if name not in weights]
    misfits = misfits or [name for name, tensor in weights.items() if tensor.shape != expected[name].shape]
    if misfits:
        why = f"{len(misfits)} tensors do not fit a {shape.kind}, for example {misfits[0]}"
        raise UserError(f"The weights {path} are not SAM's", why, _FIX, ErrorCode.BAD_WEIGHTS)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    model.pixel_mean, model.pixel_std = (torch.tensor(v).view(-1, 1, 1) for v in (_MEAN, _STD))
    return model.requires_grad_(False)
