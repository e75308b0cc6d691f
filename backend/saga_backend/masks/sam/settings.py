"""What a user may choose about SAM's automatic masks; no torch here, so that the command line's --help stays quick."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from blender_saga.errors import ErrorCode, UserError


@dataclass(frozen=True)
class SamSettings:
    """How masks are generated. The defaults are SAGA's; SAM's own are 0 for `least_area`, the rest alike.

    Attributes:
        points_per_side: the picture is asked at a grid of so many points squared; more finds smaller things.
        iou: lowest quality 0..1 that the model itself gives a mask; higher keeps fewer.
        stability: lowest IoU 0..1 of a mask with itself at another cut-off; higher keeps sharper ones.
        nms: IoU 0..1 of boxes above which the worse of two masks is dropped; higher keeps more alike.
        least_area: pixels; smaller islands of a mask are dropped, smaller holes filled.
        crop_layers: how often the picture is also asked in quarters, sixteenths and so on.
        longest_side: pixels; a larger photo is made smaller first, a view is drawn at this size (the model itself sees
            1024).
        batch: points at a time; 0: as many as fit into the memory that is free.
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
                why = f"{name} is {value}, it must be between {low} and {high}"
                raise UserError(
                    "The settings of SAM are not usable",
                    why,
                    fix="Use a number between these",
                    code=ErrorCode.BAD_SETTINGS,
                )

    def meaning(self) -> dict[str, float]:
        """What the masks depend on: everything but the batch, which only decides how fast they come."""
        return {name: value for name, value in asdict(self).items() if name != "batch"}
