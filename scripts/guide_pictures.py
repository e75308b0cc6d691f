"""Take the pictures of docs/user/guide.md in a real Blender window. This takes about 12 minutes on 2 cores.

Usage, in the environment, as root (see blender_window.py): `.venv/bin/python scripts/guide_pictures.py`

Most pictures show the demo's tabletop. Those about text show the standard synthetic scene; for them the script fits a
tiny CLIP first (or `--clip FILE` names weights from scripts/tiny_clip.py). For the pictures of a remote backend it
starts `serve` on this machine. `--only pictures`, `--only words` or `--only elsewhere` takes a part of the pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import blender_window
import build_extension

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures" / "guide"
_WIDTH, _QUALITY = 1280, 85
_SCENARIOS = ("pictures", "words", "elsewhere")
_OF_ELSEWHERE = ("elsewhere", "elsewhere_preferences")  # the other pictures are for the tests
_SYNTHETIC_SEED = 2  # a scene with one red box and no blue box
sys.path.insert(0, str(ROOT))


def write_tabletop(folder: Path) -> None:
    """Write `scene.ply` and `labels.npy` (2: the robot, 1: another object)."""
    from blender_saga.gaussians.ply import write_ply
    from saga_backend.tools.tabletop import make_tabletop, tabletop_names

    cloud, labels = make_tabletop(0)
    write_ply(folder / "scene.ply", cloud)
    numbers = {name: number for number, name in tabletop_names()[0].items()}
    robot = numbers.get("robot", 1)
    other = next(number for number in numbers.values() if number != robot)
    marks = np.where(labels[:, 0] == robot, 2, np.where(labels[:, 0] == other, 1, 0))
    np.save(folder / "labels.npy", marks.astype(np.int32))


def write_synthetic(folder: Path) -> None:
    """Write `scene.ply` and `labels.npy` of a synthetic scene with one red box (2)."""
    from blender_saga.gaussians.ply import write_ply
    from saga_backend.evaluation.captions import scene_captions
    from saga_backend.evaluation.synthetic import standard_scene

    scene = standard_scene(objects=4, views=1, seed=_SYNTHETIC_SEED)
    write_ply(folder / "scene.ply", scene.cloud)
    captions = scene_captions(scene.cloud, scene.labels[:, 1])
    red = next(part for part, caption in captions.items() if caption == "red box")
    np.save(folder / "labels.npy", np.where(scene.labels[:, 1] == red, 2, 0).astype(np.int32))


def write_clip(path: Path, given: Path | None) -> None:
    """Write weights that know the synthetic objects: copy the given ones, or fit them, which takes some minutes."""
    from saga_backend.tools.tiny_clip import TinySettings, fit, save

    if given is None:
        save(fit(TinySettings(steps=500, scenes=6)), path)
        return
    for end in (".pt", ".json"):
        path.with_suffix(end).write_bytes(given.with_suffix(end).read_bytes())


@contextlib.contextmanager
def serving(out: Path) -> Iterator[None]:
    """Run a backend as on another machine, at the port of the guide. Its address and key are in `serve.json`."""
    from tests.fakes.served import Served

    served = Served(out, "--listen", "127.0.0.1:7860")
    try:
        (out / "serve.json").write_text(json.dumps({"address": served.address, "key": served.key}))
        yield
    finally:
        served.end()


def main() -> int:
    """Run the scenarios and save their pictures, at a smaller size, for the guide."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=_SCENARIOS, help="default: all")
    parser.add_argument("--clip", type=Path, metavar="FILE", help="weights of scripts/tiny_clip.py")
    options = parser.parse_args()
    blender_window.prepare()
    results = [take(name, options.clip) for name in _SCENARIOS if options.only in (None, name)]
    return 0 if all(result == "ok" for result in results) else 1


def take(name: str, clip: Path | None) -> str:
    """Run one scenario; returns "ok" or the problem."""
    from tests.gui.runner import run_scenario

    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        if name == "words":
            write_synthetic(out)
            write_clip(out / "clip.pt", clip)
        else:
            write_tabletop(out)
        zip_path = build_extension.build(out / "zip")
        if name == "elsewhere":
            with serving(out):
                result = run_scenario("elsewhere_story.pictures", out, zip_path)
        else:
            result = run_scenario(f"guide.{name}", out, zip_path)
        PICTURES.mkdir(parents=True, exist_ok=True)
        for path in sorted(out.glob("[!_]*.png")):  # the others are for debugging
            if name == "elsewhere" and path.stem not in _OF_ELSEWHERE:
                continue
            picture = Image.open(path).convert("RGB")
            size = (_WIDTH, round(_WIDTH * picture.height / picture.width))
            target = PICTURES / f"{path.stem}.jpg"
            picture.resize(size, Image.Resampling.LANCZOS).save(target, quality=_QUALITY, optimize=True)
            print(f"{target.name}: {target.stat().st_size / 1024:.0f} kB")
        print(*(line for line in (out / "blender.log").read_text().splitlines() if "hue of" in line or "IoU" in line))
    if result != "ok":
        print(result, file=sys.stderr)
    return result


if __name__ == "__main__":
    sys.exit(main())
