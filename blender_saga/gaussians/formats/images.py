"""Decode WebP and PNG images with Pillow, or else with a reader that the add-on provides."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import ErrorCode, UserError
from ..files import bad_file

ImageReader = Callable[[bytes], np.ndarray]

_readers: list[ImageReader] = []


def use_reader(reader: ImageReader | None) -> None:
    """Set the reader to use without Pillow; None removes it.

    Args:
        reader: decodes the bytes of an image to the stored values [H,W,4] uint8, top row first. Raises ValueError
            for invalid images.
    """
    _readers[:] = [reader] if reader else []


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a WebP or PNG, without decoding it; None for other formats.

    Source: RFC 9649 (WebP container: chunks VP8, VP8L, VP8X) and the PNG specification (IHDR).
    """
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def decode_picture(path: Path, name: str, data: bytes) -> np.ndarray:
    """Decode an image.

    Args:
        path: file that contains the image, for errors.
        name: name of the image, for errors.
        data: the encoded image. Check `picture_size` first: a small file may declare a huge image.

    Returns:
        [H,W,4] uint8 r, g, b, a, top row first.

    Raises:
        UserError: if the image is damaged, or no decoder is available.
    """
    for reader in (*_pillow(), *_readers):
        try:
            return reader(data)
        except (ValueError, OSError, SyntaxError) as error:  # Pillow raises all three for damaged images
            raise bad_file(path, f"its image {name} is damaged ({error})") from error
    why = "it contains WebP images, which this Python cannot read"
    raise UserError(f"The file {path.name} cannot be read", why, "Install the package pillow", code=ErrorCode.MISSING)


def _pillow() -> list[ImageReader]:
    try:
        module = importlib.import_module("PIL.Image")
    except ImportError:
        return []

    def read(data: bytes) -> np.ndarray:
        with module.open(io.BytesIO(data), formats=("WEBP", "PNG")) as picture:
            return np.asarray(picture.convert("RGBA"))

    return [read]
