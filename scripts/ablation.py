"""Table 3 of the Click-Gaussian paper on the standard synthetic scene: the effect of each term of the loss.

Usage: `python3 scripts/ablation.py` (12 objects, 40 views, steps and pixels of the paper: hours on two cores),
`python3 scripts/ablation.py --objects 4 --views 16 --pixels 1500 --steps 1500` (minutes), `--json` (lines instead of a
table). All variants share views, rows and masks, and train by the recipe "paper" from the same noise. Scores are 3D and
2D mIoU under the rule `reference` without snapping: objects for coarse, parts for fine
(docs/measurements/evaluation.md).
"""

from __future__ import annotations

import sys

import bootstrap

if "--as-is" not in sys.argv:
    bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

import argparse
import json
import time
from dataclasses import dataclass, replace

sys.path.insert(1, str(bootstrap.ROOT / "backend"))
sys.path.insert(2, str(bootstrap.ROOT))

import numpy as np

from saga_backend.common.progress import Control
from saga_backend.evaluation.protocol import SWITCH, ProtocolSettings, Selector, Sight, Task, evaluate, observe
from saga_backend.evaluation.simulated import SimulatedMasks
from saga_backend.evaluation.synthetic import standard_scene
from saga_backend.methods.click_gaussian.model import LevelClusters, LevelModel
from saga_backend.methods.click_gaussian.settings import PAPER, ClickSettings, Weights
from saga_backend.methods.click_gaussian.train import ClickInput, train_click_gaussian
from saga_backend.rasterizer.select import rasterizer
from saga_backend.training.preparation import picture_masks, rasterize

VARIANTS: dict[str, dict] = {
    "full": {},
    "w/o prior": {"prior": False},
    "w/o GFL": {"weights": Weights(guidance=0)},
    "w/o 2D-norm": {"weights": Weights(rendered=0)},
    "w/o 3D-norm": {"weights": Weights(sphere=0)},
    "w/o spatial": {"weights": Weights(spatial=0)},
}


@dataclass(frozen=True, eq=False)
class Scene:
    """The shared data of all variants: the input of the training, and the task of the evaluation."""

    data: ClickInput
    task: Task


def scene_of(args: argparse.Namespace) -> Scene:
    """Make the standard scene with simulated masks."""
    made, control = standard_scene(args.objects, args.views, args.seed), Control()
    raster = rasterizer(args.device)
    rasterized = rasterize(made.cloud, made.views, raster, args.seed, control)
    found = picture_masks(rasterized, SimulatedMasks(made.cloud, made.labels, made.views, args.seed), raster, control)
    sights, seen = observe(made.cloud, made.views)
    data = ClickInput(made.cloud.means, found.seen, rasterized.rows, found.masks, found.segments)
    return Scene(data, Task(made.labels, seen, sights))


def run(name: str, scene: Scene, settings: ClickSettings) -> dict:
    """Train and evaluate one variant."""
    start, cpu_start = time.perf_counter(), time.process_time()
    model = train_click_gaussian(scene.data, settings, Control())
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    rules = ProtocolSettings(rules=("reference",), cap=0, by_level=SWITCH)
    scores = evaluate(_selector(model), scene.task, rules)["reference"]
    line: dict = {"variant": name, "clusters": [len(level.centers) for level in model.levels]}
    line |= {"like": [round(level.like, 3) for level in model.levels], "nearest": list(map(_nearest, model.levels))}
    for level, of_level in scores.items():
        line |= {f"{level}_{key}": of_level[key] for key in ("miou_3d", "miou_2d")}
    return line | {key: round(value, 1) for key, value in spent.items()}


def _nearest(level: LevelClusters) -> float:
    """The cosine of a cluster with its most similar one, median over the clusters."""
    cosines = level.centers @ level.centers.T - 2 * np.eye(len(level.centers))
    return round(float(np.median(cosines.max(axis=1))), 3)


def _selector(model: LevelModel) -> Selector:
    def select(sight: Sight, pixels: np.ndarray, positive: np.ndarray, scale: float | None) -> np.ndarray:
        return model.select(sight.rows_at(pixels), positive, scale).mask

    return select


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (
        ("objects", 12),
        ("views", 40),
        ("seed", 0),
        ("steps", PAPER.steps),
        ("pixels", PAPER.pixels),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default: {default}")
    parser.add_argument("--around", type=int, default=PAPER.around, metavar="N", help="Gaussians of Eq. 12 in a step")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", choices=tuple(VARIANTS), action="append", help="this variant; may be repeated")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each variant instead of the table")
    parser.add_argument("--as-is", action="store_true", help="use the current Python with its packages")
    return parser.parse_args()


def main() -> None:
    """Print the table line by line."""
    args = arguments()
    scene = scene_of(args)
    base = replace(
        PAPER, steps=args.steps, pixels=args.pixels, around=args.around, seed=args.seed, device=args.device,
        refresh=max(1, args.steps // 12),
    )  # fmt: skip
    keys = ("objects_miou_3d", "parts_miou_3d", "objects_miou_2d", "parts_miou_2d", "seconds")
    if not args.json:
        print(
            "| variant | coarse 3D | fine 3D | coarse 2D | fine 2D | seconds |\n|---|---|---|---|---|---|", flush=True
        )
    for name in args.only or VARIANTS:
        line = run(name, scene, replace(base, **VARIANTS[name]))
        print(json.dumps(line) if args.json else f"| {name} | {' | '.join(str(line[k]) for k in keys)} |", flush=True)


if __name__ == "__main__":
    main()
