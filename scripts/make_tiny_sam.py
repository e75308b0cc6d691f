"""Make a tiny Segment Anything: the same classes as the published models, but a file of 1 MB instead of 375 MB.

Usage: `.venv/bin/python scripts/make_tiny_sam.py tiny_sam.pth` (seconds: random weights), `--steps 600` (some minutes:
fitted to point prompts on pictures of colored shapes, enough to try the tools). It is for tests and experiments; it
knows nothing about photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("backend", ".")]

from saga_backend.masks.sam.model import SamShape, build  # noqa: E402

SIDE = 64
SHAPE = SamShape(
    width=64, depth=3, heads=4, global_blocks=(0, 2), window=8, mlp=128, image=SIDE, patch=4, prompt=64,
    mask_channels=16, decoder_depth=2, decoder_mlp=128, masks=3, iou_depth=2, iou_width=64,
)  # fmt: skip


def shapes(random: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """A picture [side,side,3] uint8 of overlapping shapes on a plain ground, and its labels [side,side] int.

    Label 0 is the ground.
    """
    picture = np.empty((side, side, 3), np.float64)
    picture[:] = random.uniform(0, 255, 3)
    labels = np.zeros((side, side), np.int64)
    y, x = np.mgrid[0:side, 0:side]
    for label in range(1, int(random.integers(2, 6))):
        center, half = random.uniform(0.15, 0.85, 2) * side, random.uniform(0.08, 0.3, 2) * side
        dx, dy = (x - center[0]) / half[0], (y - center[1]) / half[1]
        inside = np.maximum(abs(dx), abs(dy)) < 1 if random.random() < 0.5 else dx**2 + dy**2 < 1
        picture[inside], labels[inside] = random.uniform(0, 255, 3), label
    noisy = picture + random.normal(0, 6, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), labels


def fit(model: torch.nn.Module, steps: int, seed: int, per_step: int = 8, points: int = 4) -> float:
    """Fit a model to one-point prompts; returns the mean IoU of its best masks over the last tenth of the steps."""
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=max(steps, 2))
    reached = []
    for step in range(steps):
        samples = [shapes(random) for _ in range(per_step)]
        images = torch.stack([torch.from_numpy(p).permute(2, 0, 1).float() for p, _ in samples])
        encoded = model.image_encoder(torch.stack([model.preprocess(image) for image in images]))
        losses = [_loss(model, encoded[i : i + 1], labels, points, random) for i, (_, labels) in enumerate(samples)]
        loss = torch.stack([loss for loss, _ in losses]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        reached.append(float(np.mean([iou for _, iou in losses])))
        if step % 50 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}, IoU {reached[-1]:.2f}", file=sys.stderr, flush=True)
    return float(np.mean(reached[-max(1, steps // 10) :])) if reached else 0.0


def _loss(
    model: torch.nn.Module, encoded: torch.Tensor, labels: np.ndarray, points: int, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """The loss of SAM for some points on one picture: the best of the three masks counts, and the predicted quality."""
    rows, columns = random.integers(0, SIDE, (2, points))
    truth = torch.from_numpy(labels[None] == labels[rows, columns][:, None, None]).float()
    coordinates = torch.tensor(np.stack([columns, rows], 1) + 0.5).float()[:, None]
    sparse, dense = model.prompt_encoder((coordinates, torch.ones(points, 1)), None, None)
    low, quality = model.mask_decoder(encoded, model.prompt_encoder.get_dense_pe(), sparse, dense, True)
    masks = torch.nn.functional.interpolate(low, (SIDE, SIDE), mode="bilinear", align_corners=False)
    target = truth[:, None].expand_as(masks)
    cross = torch.nn.functional.binary_cross_entropy_with_logits(masks, target, reduction="none").mean((2, 3))
    share = masks.sigmoid()
    dice = 1 - (2 * (share * target).sum((2, 3)) + 1) / ((share + target).sum((2, 3)) + 1)
    drawn = masks > 0
    iou = (drawn & (target > 0)).sum((2, 3)) / (drawn | (target > 0)).sum((2, 3)).clamp(min=1)
    best = (5 * cross + dice).min(dim=1).values.mean()
    return best + ((quality - iou) ** 2).mean(), float(iou.max(dim=1).values.mean())


def make(path: Path, steps: int = 0, seed: int = 0) -> float:
    """Write a tiny model; returns the IoU at the end of the fit, 0 for random weights."""
    torch.manual_seed(seed)
    model = build(SHAPE)
    reached = fit(model.train(), steps, seed) if steps else 0.0
    torch.save(model.state_dict(), path)
    return reached


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--steps", type=int, default=0, help="steps of the fit (default: 0, random weights)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    reached = make(args.path, args.steps, args.seed)
    print(f"{args.path}: {args.path.stat().st_size:,} bytes" + (f", IoU {reached:.2f}" if args.steps else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
