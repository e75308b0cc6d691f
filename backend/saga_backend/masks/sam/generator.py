"""SAM's automatic masks of one picture, in batches that fit into memory."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from blender_saga.errors import ErrorCode, UserError

from ..run_lengths import RunMasks, decode, encode
from .model import LoadedSam
from .settings import SamSettings

_log = logging.getLogger(__name__)

_MOST_POINTS = 64  # SAM's own default; more is hardly faster
_SHARE = 0.5  # of the free memory that a batch may take
_COPIES = 4  # of a batch's masks, as floats: large, cut, at the picture's size, and what is compared
_ATTENTIONS = 3  # of all patches of a picture with all, per head: products, with relative positions, softmax
_LEAST_SIDE = 256  # pixels: a picture is made no smaller than that for want of memory
_EIGHT = np.ones((3, 3), bool)


@dataclass(eq=False)
class SamGenerator:
    """Finds masks in pictures. Remembers a batch that fits.

    Attributes:
        sam: the model.
        settings: how.
        points: at a time, as last used; 0: not chosen yet.
        notes: sentences for the user about what did not fit into memory.
    """

    sam: LoadedSam
    settings: SamSettings = field(default_factory=SamSettings)
    points: int = 0
    notes: list[str] = field(default_factory=list)

    def masks(self, picture: np.ndarray) -> RunMasks:
        """Find the masks of a picture.

        Args:
            picture: [H,W,3] uint8, sRGB.

        Returns:
            The best first, at the size of `fitted(picture, longest_side)`.

        Raises:
            UserError: if not even a batch of one point fits into memory.
        """
        picture = fitted(picture, self.settings.longest_side)
        self.points = self.points or self.settings.batch or batch_for(self.sam, picture.shape[:2])
        while True:
            try:
                found = self._generate(picture)
                return _tidied(found, picture.shape[:2], self.settings)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._smaller(picture)

    def _smaller(self, picture: np.ndarray) -> None:
        if self.points == 1:
            why = f"one point of a picture of {picture.shape[1]} x {picture.shape[0]} pixels is too much"
            fix = "Choose a smaller longest side or a smaller model, or close other programs"
            raise UserError("There is not enough memory for SAM", why, fix, ErrorCode.NO_MEMORY)
        self.points = max(1, self.points // 2)
        self.notes.append(f"Memory ran out: SAM is asked {self.points} points at a time from now on")
        _log.warning("%s", self.notes[-1])
        if self.sam.model.device.type == "cuda":
            import torch

            torch.cuda.empty_cache()

    def _generate(self, picture: np.ndarray) -> list[dict]:
        from segment_anything import SamAutomaticMaskGenerator

        generator = SamAutomaticMaskGenerator(
            self.sam.model,
            points_per_side=self.settings.points_per_side,
            points_per_batch=self.points,
            pred_iou_thresh=self.settings.iou,
            stability_score_thresh=self.settings.stability,
            box_nms_thresh=self.settings.nms,
            crop_nms_thresh=self.settings.nms,
            crop_n_layers=self.settings.crop_layers,
            min_mask_region_area=0,  # that step of its needs OpenCV; `_tidied` does the same
            output_mode="uncompressed_rle",
        )
        return generator.generate(picture)


def fitted(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """A picture [H,W,3] uint8, made smaller if its longest side has more pixels than that."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = longest_side / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def fit(sam: LoadedSam, settings: SamSettings) -> tuple[SamSettings, list[str]]:
    """The settings with a longest side whose masks fit into the memory that is free now, and a sentence for the user if
    that is a smaller one. It is halved, so that masks found before under the same need are found again.

    Raises:
        UserError: if the model cannot even look at a picture in the memory that is free.
    """
    free, needed, wanted = free_bytes(sam.model.device.type), encoder_bytes(sam), settings.longest_side
    if free < needed:
        why = f"looking at a picture takes about {needed / 1e9:.1f} GB with {sam.shape.kind}, {free / 1e9:.1f} are free"
        fix = "Choose a smaller model (vit_b takes least), or close other programs"
        raise UserError("There is not enough memory for SAM", why, fix, ErrorCode.NO_MEMORY)
    side = wanted
    while side > _LEAST_SIDE and _point_bytes(sam, (side, side)) > free * _SHARE:
        side = max(side // 2, _LEAST_SIDE)
    if side == wanted:
        return settings, []
    note = f"SAM looks at pictures of at most {side} pixels a side: {wanted} do not fit into {free / 1e9:.1f} GB"
    _log.warning("%s", note)
    return replace(settings, longest_side=side), [note]


def encoder_bytes(sam: LoadedSam) -> int:
    """About how much memory encoding a picture takes beside the weights; it does not depend on the picture's size.

    For vit_b 2.4 GB by this rule, and 2.5 measured.
    """
    patches = (sam.shape.image // sam.shape.patch) ** 2
    return 4 * _ATTENTIONS * sam.shape.heads * patches**2


def batch_for(sam: LoadedSam, size: tuple[int, int]) -> int:
    """How many points at a time fit into the memory that is free now; `size`: height and width of the picture."""
    return int(np.clip(free_bytes(sam.model.device.type) * _SHARE // _point_bytes(sam, size), 1, _MOST_POINTS))


def _point_bytes(sam: LoadedSam, size: tuple[int, int]) -> int:
    """What the masks of one point take; `size`: height and width of the picture."""
    return sam.shape.masks * (sam.shape.image**2 + size[0] * size[1]) * 4 * _COPIES


def free_bytes(device: str) -> int:
    """Memory that is free now on a device, "cpu" or "cuda"."""
    if device == "cuda":
        import torch

        held = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # torch keeps it to use again
        return torch.cuda.mem_get_info()[0] + held
    import psutil

    return psutil.virtual_memory().available


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: torch has a class of its own for the GPU, and none for the CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)


def _tidied(found: list[dict], size: tuple[int, int], settings: SamSettings) -> RunMasks:
    """SAM's records, the best first, without small islands and holes, and without the doubles that this makes; of two
    doubles the one stays that was not changed.
    """
    found = sorted(found, key=lambda record: -record["predicted_iou"])
    runs, boxes, changed = [], [], []
    for record in found:
        counts = np.asarray(record["segmentation"]["counts"], np.uint32)
        mask, other = without_specks(decode(counts, size), settings.least_area)
        runs.append(encode(mask) if other else counts)
        boxes.append(_box(mask))
        changed.append(other)
    kept = _apart(boxes, changed, settings.nms) if any(changed) else range(len(found))
    scores = np.array([found[index]["predicted_iou"] for index in kept], np.float32)
    return RunMasks.of_runs([runs[index] for index in kept], size, scores)


def without_specks(mask: np.ndarray, least: int) -> tuple[np.ndarray, bool]:
    """A mask [H,W] without holes and islands of fewer than `least` pixels (the largest island stays), and whether that
    changed it. Pixels that touch at a corner are together, as in SAM's own step.
    """
    if least <= 0 or not mask.any():
        return mask, False
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = slice(max(y[0] - 1, 0), y[-1] + 2), slice(max(x[0] - 1, 0), x[-1] + 2)
    inside = mask[crop]
    holes, sizes = _pieces(~inside)
    at_border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    small = sizes < least
    small[at_border] = False  # it goes on outside of the crop, or is cut off by the picture's edge: not a hole
    small[0] = False
    filled = inside | small[holes]
    islands, sizes = _pieces(filled)
    keep = sizes >= least
    keep[0] = False
    if not keep.any():
        keep[1 + int(np.argmax(sizes[1:]))] = True
    kept = keep[islands]
    if np.array_equal(kept, inside):
        return mask, False
    out = mask.copy()
    out[crop] = kept
    return out, True


def _pieces(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each pixel's piece, 0 outside, and the sizes by number."""
    numbers, _ = ndimage.label(region, _EIGHT)
    return numbers, np.bincount(numbers.ravel())


def _apart(boxes: list[list[float]], changed: list[bool], nms: float) -> list[int]:
    """Which masks stay when those whose boxes overlap by more are doubles, rising."""
    import torch
    from torchvision.ops import nms as suppress

    wanted = torch.where(torch.tensor(changed), 0.0, 1.0)
    return sorted(suppress(torch.tensor(boxes), wanted, nms).tolist())


def _box(mask: np.ndarray) -> list[float]:
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(x[0]), float(y[0]), float(x[-1]), float(y[-1])]
