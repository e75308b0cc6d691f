"""One mask in one picture, as benchmarks publish it and as people paint it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from blender_saga.errors import UserError


def read_mask(path: Path) -> np.ndarray:
    """[h,w] bool of a mask picture: brighter than half of its brightest pixel, and opaque; all black is empty.

    Masks are published with 1 as well as with 255 for inside.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode in ("P", "1", "I", "I;16"):
                gray = np.asarray(picture).astype(np.int64)
                opaque = np.ones(gray.shape, bool)
            else:
                rgba = np.asarray(picture.convert("RGBA")).astype(np.int64)
                gray, opaque = rgba[..., :3].max(axis=2), rgba[..., 3] > 127
    except (OSError, ValueError) as error:
        raise UserError(
            f"The mask {path} cannot be read", str(error), "Save it again as PNG, or fetch it again"
        ) from error
    gray = gray * opaque
    return 2 * gray > max(int(gray.max()), 1)
