"""Decode WebP images with Blender, which does not include Pillow."""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import numpy as np


def read_picture(data: bytes) -> np.ndarray:
    """Decode an image to its stored values.

    Args:
        data: the encoded image, 8 bits per channel.

    Returns:
        [H,W,4] uint8, top row first.

    Raises:
        ValueError: if the image is damaged.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.webp")
        path.write_bytes(data)
        image = bpy.data.images.load(str(path), check_existing=False)
        try:
            image.colorspace_settings.is_data = True  # no color management and no premultiplication
            image.alpha_mode = "CHANNEL_PACKED"
            width, height = image.size
            if not width or not height or image.channels != 4:
                raise ValueError("Blender cannot read it")
            values = np.empty(width * height * 4, np.float32)
            image.pixels.foreach_get(values)
        finally:
            bpy.data.images.remove(image)
    return np.rint(values.reshape(height, width, 4)[::-1] * 255).astype(np.uint8)
