"""Hyper-parameters of Click-Gaussian, from section 4.1 of the paper."""

from __future__ import annotations

from dataclasses import dataclass, field

RECIPES = ("prototypes", "paper", "three-levels")


@dataclass(frozen=True)
class Weights:
    """Weights of the loss terms (Eq. 5 and 13); 0 disables a term.

    Attributes:
        negative: pixels in different masks, relative to pixels in the same mask.
        guidance: lambda 1, Global Feature-guided Learning (Eq. 9).
        sphere: lambda 2, lengths of the features of Gaussians (Eq. 10).
        rendered: lambda 3, lengths of the features of pixels (Eq. 11).
        spatial: lambda 4, similarity of neighbors (Eq. 12).
    """

    negative: float = 0.1
    guidance: float = 10.0
    sphere: float = 0.2
    rendered: float = 0.2
    spatial: float = 0.5


@dataclass(frozen=True)
class ClickSettings:
    """Hyper-parameters.

    Attributes:
        recipe: "prototypes" trains on the consensus segments, with few pixels per step; "paper" trains on the original
            masks, with 10,000 pixels; "three-levels" is the paper's recipe with three levels (0.B.0.1).
        steps: optimizer steps.
        pixels: pixels of one view per step.
        levels: number of granularity levels, coarsest first.
        channels: D, channels of all levels together; a multiple of `levels`.
        margins: tau of every level, the maximum cosine of pixels in different masks without a loss.
        prior: True if the feature of a level contains the features of the coarser ones (granularity prior).
        weights: weights of the loss terms.
        rate: Adam's learning rate.
        guided_from: share of the steps before guidance starts; 2,000 of 3,000.
        refresh: steps between two updates of the global clusters.
        belongs: tau_g, the minimum cosine of a Gaussian and its cluster.
        epsilons: distance of unit vectors of every level below which HDBSCAN does not split clusters.
        share: minimum number of mask features of a cluster, as a share of the number of views.
        around: number of Gaussians per step for the comparison with their neighbors.
        neighbors: K of Eq. 12.
        seed: seed of all random generators.
        device: "cpu" or a torch device.
    """

    recipe: str = "prototypes"
    steps: int = 3000
    pixels: int = 1024
    levels: int = 2
    channels: int = 24
    margins: tuple[float, ...] = (0.5, 0.75)
    prior: bool = True
    weights: Weights = field(default_factory=Weights)
    rate: float = 0.01
    guided_from: float = 2 / 3
    refresh: int = 250
    belongs: float = 0.9
    epsilons: tuple[float, ...] = (1e-2, 1e-3)
    share: float = 0.2
    around: int = 10_000
    neighbors: int = 5
    seed: int = 0
    device: str = "cpu"

    @property
    def begin(self) -> int:
        """The first step with guidance."""
        return round(self.guided_from * self.steps)

    def span(self, level: int) -> slice:
        """The channels of a level's feature."""
        own = self.own(level)
        return slice(0, own.stop) if self.prior else own

    def own(self, level: int) -> slice:
        """The channels of a level without the channels of the coarser ones."""
        width = self.channels // self.levels
        return slice(level * width, (level + 1) * width)


PROTOTYPES = ClickSettings()
PAPER = ClickSettings("paper", pixels=10_000, around=100_000)
THREE_LEVELS = ClickSettings(
    "three-levels", pixels=10_000, around=100_000, levels=3, margins=(0.5, 0.625, 0.75), epsilons=(1e-2, 3e-3, 1e-3)
)
BY_NAME = {"prototypes": PROTOTYPES, "paper": PAPER, "three-levels": THREE_LEVELS}
