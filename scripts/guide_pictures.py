"""Take the pictures of docs/guide.md in a real Blender window, with the demo's tabletop. About 6 minutes on 2 cores.

Usage, in the environment, as root (blender_window.py says why): `.venv/bin/python scripts/guide_pictures.py`
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import blender_window
import build_extension
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures" / "guide"
_WIDTH, _QUALITY = 1280, 85
sys.path.insert(0, str(ROOT))


def write_tabletop(folder: Path) -> None:
    """`scene.ply` and `labels.npy` (2: the robot, 1: the mug, or what stands in their place)."""
    from saga_backend.evaluation.tabletop import make_tabletop, tabletop_names

    from blender_saga.gaussians.ply import write_ply

    cloud, labels = make_tabletop(0)
    write_ply(folder / "scene.ply", cloud)
    numbers = {name: number for number, name in tabletop_names()[0].items()}
    robot = numbers.get("robot", 1)
    other = next(number for number in numbers.values() if number != robot)
    marks = np.where(labels[:, 0] == robot, 2, np.where(labels[:, 0] == other, 1, 0))
    np.save(folder / "labels.npy", marks.astype(np.int32))


def main() -> int:
    """Run the scenario and put its pictures, smaller, where the guide shows them."""
    from tests.gui.runner import run_scenario

    blender_window.prepare()
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        write_tabletop(out)
        result = run_scenario("guide.pictures", out, build_extension.build(out / "zip"))
        PICTURES.mkdir(parents=True, exist_ok=True)
        for path in sorted(out.glob("*.png")):
            picture = Image.open(path).convert("RGB")
            size = (_WIDTH, round(_WIDTH * picture.height / picture.width))
            target = PICTURES / f"{path.stem}.jpg"
            picture.resize(size, Image.Resampling.LANCZOS).save(target, quality=_QUALITY, optimize=True)
            print(f"{target.name}: {target.stat().st_size / 1024:.0f} kB")
    if result != "ok":
        print(result, file=sys.stderr)
    return 0 if result == "ok" else 1


if __name__ == "__main__":
    sys.exit(main())
