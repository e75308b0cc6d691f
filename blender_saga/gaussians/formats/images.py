"""WebP (and PNG) pictures as arrays: by Pillow where it can be imported, else by a reader that the add-on hands in."""

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
    """Hand in a function for where Pillow is missing; None takes it back.

    Args:
        reader: from the bytes of a picture to [H,W,4] uint8, first row on top, the stored numbers unchanged. Raises
            ValueError for what is no picture.
    """
    _readers[:] = [reader] if reader else []


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the header of a WebP or PNG announces, without decoding it; None: not one of them.

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
    """The pixels of a picture.

    Args:
        path: the file it belongs to, for errors.
        name: its own name, for errors.
        data: its bytes. Check `picture_size` first: a small file may announce a huge picture.

    Returns:
        [H,W,4] uint8 r, g, b, a, first row on top.

    Raises:
        UserError: if it cannot be decoded, or nothing here can decode it.
    """
    for reader in (*_pillow(), *_readers):
        try:
            return reader(data)
        except (ValueError, OSError, SyntaxError) as error:  # Pillow raises all three for damaged pictures
            raise bad_file(path, f"its picture {name} is damaged ({error})") from error
    why = "its data are WebP pictures, and this Python has no reader for them"
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
