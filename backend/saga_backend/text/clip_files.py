"""The weights files of CLIP: the official one for download, and a reader that never runs code from a file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blender_saga.errors import ErrorCode, UserError

from ..common.safe_arrays import BROKEN, check_tensor
from ..masks.sam.weights import OfficialFile

if TYPE_CHECKING:
    import torch

FIX = "Choose an OpenCLIP weights file, for example vit_b_16-laion400m_e32-55e67d44.pt"
OFFICIAL = OfficialFile(
    "ViT-B-16",
    "vit_b_16-laion400m_e32-55e67d44.pt",
    598_482_948,  # of the tensors alone: the file is slightly larger
    "55e67d44b44d9e39aaf299a5c616aaf10a655879d6bd5854027b4a254aa2e7d5",
    "https://github.com/mlfoundations/open_clip/releases/download/v0.2-weights/vit_b_16-laion400m_e32-55e67d44.pt",
)
"""Name and address as in the table of open_clip; the name ends with the first digits of the hash."""


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file by name.

    Args:
        path: a safetensors file, or a torch.save file of plain tensors.

    Raises:
        UserError: if it is missing, truncated or no file of plain tensors.
    """
    import torch

    if not path.is_file():
        raise UserError(f"The CLIP weights {path} cannot be read", "it does not exist", FIX, ErrorCode.BAD_WEIGHTS)
    content = _safetensors(path) if path.suffix == ".safetensors" else _torch(path)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    plain = isinstance(content, dict) and all(isinstance(value, torch.Tensor) for value in content.values())
    if plain:
        _check_tensors(content, path)
    if not plain or not content:
        why = "it holds no named tensors"
        raise UserError(f"The weights {path} are not CLIP's", why, FIX, ErrorCode.BAD_WEIGHTS)
    return {name.removeprefix("module."): value for name, value in content.items()}


def _check_tensors(content: dict[str, torch.Tensor], path: Path) -> None:
    for name, tensor in content.items():
        try:
            check_tensor(tensor)
        except ValueError as error:
            raise UserError(
                f"The weights {path} are not CLIP's", f"{name} is {error}", FIX, ErrorCode.BAD_WEIGHTS
            ) from error


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise _unreadable(path, str(error)) from error


def _torch(path: Path) -> Any:
    import torch

    if _is_program(path):
        why = "it is a TorchScript program, as OpenAI publishes them, and not a file of plain tensors"
        raise UserError(f"The weights {path} cannot be used", why, FIX, ErrorCode.BAD_WEIGHTS)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch passes on any error of its readers
        raise _unreadable(path, "it is truncated, or no file of plain tensors") from error


def _is_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return any(name.endswith("/constants.pkl") for name in file.namelist())
    except BROKEN:
        return False


def _unreadable(path: Path, why: str) -> UserError:
    return UserError(f"The CLIP weights {path} cannot be read", why, FIX, ErrorCode.BAD_WEIGHTS)
