"""Settings of SAM's automatic masks; without torch, so that the command line's --help stays fast."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from blender_saga.errors import ErrorCode, UserError


@dataclass(frozen=True)
class SamSettings:
    """Settings of the mask generation. The defaults are SAGA's; SAM's differ in `least_area`, which is 0.

    Attributes:
        points_per_side: side of the square grid of prompt points; more points find smaller objects.
        iou: minimum quality 0..1 predicted by the model; higher keeps fewer masks.
        stability: minimum IoU 0..1 of a mask under a shifted threshold; higher keeps sharper masks.
        nms: box IoU 0..1 above which the worse of two masks is dropped; higher keeps more similar masks.
        least_area: pixels; smaller islands of a mask are removed, smaller holes are filled.
        crop_layers: levels of additional crops: quarters, sixteenths and so on.
        longest_side: pixels; larger photos are scaled down, and views are rasterized at this size (the model itself
            uses 1024).
        batch: points per batch; 0: as many as fit into the free memory.
    """

    points_per_side: int = 32
    iou: float = 0.88
    stability: float = 0.95
    nms: float = 0.7
    least_area: int = 100
    crop_layers: int = 0
    longest_side: int = 1024
    batch: int = 0

    def __post_init__(self) -> None:
        limits = {
            "points_per_side": (1, 128), "iou": (0, 1), "stability": (0, 1), "nms": (0, 1),
            "least_area": (0, 10**7), "crop_layers": (0, 3), "longest_side": (64, 8192), "batch": (0, 1024),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                why = f"{name} is {value} and must be between {low} and {high}"
                raise UserError(
                    "The settings of SAM are not usable",
                    why,
                    fix="Use a number in this range",
                    code=ErrorCode.BAD_SETTINGS,
                )

    def meaning(self) -> dict[str, float]:
        """The settings that change the masks: all but the batch size, which only changes the speed."""
        return {name: value for name, value in asdict(self).items() if name != "batch"}
