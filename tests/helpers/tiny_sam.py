"""A Segment Anything of tiny width for tests, made once a run: the published classes, random weights."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

from tests.paths import ROOT

sys.path.append(str(ROOT / "scripts"))

from make_tiny_sam import make, shapes

__all__ = ["OPEN", "shapes", "tiny_sam"]

OPEN = {
    "points_per_side": 6,
    "iou": 0.0,
    "stability": 0.0,
    "nms": 1.0,
    "least_area": 4,
    "batch": 16,
    "longest_side": 64,
}
"""Settings under which a model that knows nothing still gives masks."""


@functools.cache
def tiny_sam() -> Path:
    """The file of weights."""
    folder = tempfile.mkdtemp(prefix="tiny_sam")
    path = Path(folder) / "tiny.pth"
    make(path)
    return path
