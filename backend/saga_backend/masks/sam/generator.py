"""SAM's automatic masks of a picture, in batches that fit into memory."""

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

_MAX_BATCH = 64  # points; SAM's default, and larger batches are hardly faster
_SHARE = 0.5  # of the free memory for a batch
_COPIES = 4  # float copies of a batch's masks: upscaled, cropped, resized and thresholded
_ATTENTIONS = 3  # attention matrices per head: products, with relative positions, softmax
_MIN_SIDE = 256  # pixels: lower limit when pictures are scaled down to save memory
_EIGHT_NEIGHBORS = np.ones((3, 3), bool)


@dataclass(eq=False)
class SamGenerator:
    """Generates the masks of pictures and remembers a batch size that fits into memory.

    Attributes:
        sam: the model.
        settings: settings of the generation.
        points: batch size of the last picture, in points; 0: not chosen yet.
        notes: sentences for the user about memory limits.
    """

    sam: LoadedSam
    settings: SamSettings = field(default_factory=SamSettings)
    points: int = 0
    notes: list[str] = field(default_factory=list)

    def masks(self, picture: np.ndarray) -> RunMasks:
        """Generate the masks of a picture.

        Args:
            picture: [H,W,3] uint8, sRGB.

        Returns:
            The masks, best first, at the size of `limit_size(picture, longest_side)`.

        Raises:
            UserError: if a batch of one point does not fit into memory.
        """
        picture = limit_size(picture, self.settings.longest_side)
        self.points = self.points or self.settings.batch or batch_size(self.sam, picture.shape[:2])
        while True:
            try:
                records = self._generate(picture)
                return _clean(records, picture.shape[:2], self.settings)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._shrink_batch(picture)

    def _shrink_batch(self, picture: np.ndarray) -> None:
        if self.points == 1:
            why = f"one point of a picture of {picture.shape[1]} x {picture.shape[0]} pixels does not fit"
            fix = "Choose a smaller longest side or a smaller model, or close other programs"
            raise UserError("There is not enough memory for SAM", why, fix, ErrorCode.NO_MEMORY)
        self.points = max(1, self.points // 2)
        self.notes.append(f"Memory ran out: SAM now processes {self.points} points at a time")
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
            min_mask_region_area=0,  # SAM's own step needs OpenCV; `_clean` replaces it
            output_mode="uncompressed_rle",
        )
        return generator.generate(picture)


def limit_size(picture: np.ndarray, longest_side: int) -> np.ndarray:
    """A picture [H,W,3] uint8, scaled down if its longest side exceeds `longest_side` pixels."""
    from PIL import Image

    height, width = picture.shape[:2]
    factor = longest_side / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(picture)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def fit(sam: LoadedSam, settings: SamSettings) -> tuple[SamSettings, list[str]]:
    """The settings with a longest side whose masks fit into the free memory, and a note for the user if it is smaller.

    The side is halved repeatedly, so that a later run under similar conditions reuses the cached masks.

    Raises:
        UserError: if the model cannot encode a picture in the free memory.
    """
    free, needed, requested = free_bytes(sam.model.device.type), encoder_bytes(sam), settings.longest_side
    if free < needed:
        why = f"{sam.shape.kind} needs about {needed / 1e9:.1f} GB per picture, and {free / 1e9:.1f} GB are free"
        fix = "Choose a smaller model (vit_b needs the least memory), or close other programs"
        raise UserError("There is not enough memory for SAM", why, fix, ErrorCode.NO_MEMORY)
    side = requested
    while side > _MIN_SIDE and _point_bytes(sam, (side, side)) > free * _SHARE:
        side = max(side // 2, _MIN_SIDE)
    if side == requested:
        return settings, []
    note = f"SAM works at {side} pixels per side, because {requested} do not fit into {free / 1e9:.1f} GB"
    _log.warning("%s", note)
    return replace(settings, longest_side=side), [note]


def encoder_bytes(sam: LoadedSam) -> int:
    """Estimated memory in bytes to encode a picture, without the weights; independent of the picture's size.

    For vit_b the estimate is 2.4 GB, and 2.5 GB were measured.
    """
    patches = (sam.shape.image // sam.shape.patch) ** 2
    return 4 * _ATTENTIONS * sam.shape.heads * patches**2


def batch_size(sam: LoadedSam, size: tuple[int, int]) -> int:
    """Number of points per batch that fit into the free memory; `size`: height and width of the picture."""
    return int(np.clip(free_bytes(sam.model.device.type) * _SHARE // _point_bytes(sam, size), 1, _MAX_BATCH))


def _point_bytes(sam: LoadedSam, size: tuple[int, int]) -> int:
    """Bytes for the masks of one point; `size`: height and width of the picture."""
    return sam.shape.masks * (sam.shape.image**2 + size[0] * size[1]) * 4 * _COPIES


def free_bytes(device: str) -> int:
    """Free memory of a device ("cpu" or "cuda"), bytes."""
    if device == "cuda":
        import torch

        reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # torch reuses it
        return torch.cuda.mem_get_info()[0] + reserved
    import psutil

    return psutil.virtual_memory().available


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception reports exhausted memory. torch has an exception class for the GPU only."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)


def _clean(records: list[dict], size: tuple[int, int], settings: SamSettings) -> RunMasks:
    """SAM's records, best first, without small islands and holes, and without the duplicates that their removal causes.
    Of two duplicates, the unchanged one stays.
    """
    records = sorted(records, key=lambda record: -record["predicted_iou"])
    runs, boxes, changed = [], [], []
    for record in records:
        counts = np.asarray(record["segmentation"]["counts"], np.uint32)
        mask, is_changed = without_specks(decode(counts, size), settings.least_area)
        runs.append(encode(mask) if is_changed else counts)
        boxes.append(_box(mask))
        changed.append(is_changed)
    kept = _without_duplicates(boxes, changed, settings.nms) if any(changed) else range(len(records))
    scores = np.array([records[index]["predicted_iou"] for index in kept], np.float32)
    return RunMasks.of_runs([runs[index] for index in kept], size, scores)


def without_specks(mask: np.ndarray, least: int) -> tuple[np.ndarray, bool]:
    """A mask [H,W] without holes and islands of fewer than `least` pixels, and whether it changed.

    The largest island stays. Pixels that touch at a corner are connected, as in SAM's own step.
    """
    if least <= 0 or not mask.any():
        return mask, False
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    crop = slice(max(y[0] - 1, 0), y[-1] + 2), slice(max(x[0] - 1, 0), x[-1] + 2)
    inside = mask[crop]
    holes, sizes = _components(~inside)
    at_border = np.unique(np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]]))
    small = sizes < least
    small[at_border] = False  # a region that continues outside the crop or meets the picture's edge is no hole
    small[0] = False
    filled = inside | small[holes]
    islands, sizes = _components(filled)
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


def _components(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The connected component of each pixel (0: outside), and the size of every component."""
    numbers, _ = ndimage.label(region, _EIGHT_NEIGHBORS)
    return numbers, np.bincount(numbers.ravel())


def _without_duplicates(boxes: list[list[float]], changed: list[bool], nms: float) -> list[int]:
    """Ascending indices of the masks that stay if boxes with an IoU above `nms` are duplicates."""
    import torch
    from torchvision.ops import nms as suppress

    scores = torch.where(torch.tensor(changed), 0.0, 1.0)
    return sorted(suppress(torch.tensor(boxes), scores, nms).tolist())


def _box(mask: np.ndarray) -> list[float]:
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(x[0]), float(y[0]), float(x[-1]), float(y[-1])]
