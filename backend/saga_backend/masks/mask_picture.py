"""Mask pictures: one mask per picture file, from a benchmark or a paint program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from blender_saga.errors import UserError


def read_mask(path: Path) -> np.ndarray:
    """Read a mask [h,w] bool: the opaque pixels that are brighter than half of the brightest pixel.

    Some published masks have 1 inside, others 255. A black picture is an empty mask.

    Raises:
        UserError: if the picture cannot be read.
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
