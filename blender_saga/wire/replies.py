"""The backend's answers, one frozen dataclass each; see messages.py for the rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ErrorCode, UserError
from .message import PROTOCOL_VERSION, Reply
from .parts import Cleaned


@dataclass(frozen=True, eq=False)
class Welcome(Reply):
    """The server is ready. `device` is "cuda" or "cpu", `note` describes the device, `machine` is the name of the
    machine for remote clients, and `obstacle` is the reason why an existing GPU is not used.
    """

    protocol: int = PROTOCOL_VERSION
    backend: str = ""
    device: str = "cpu"
    note: str = ""
    machine: str = ""
    obstacle: str = ""


@dataclass(frozen=True, eq=False)
class SceneState(Reply):
    """The state of a scene in the backend.

    Attributes:
        scene: fingerprint of the cloud.
        count: number of its Gaussians.
        model_steps: optimizer steps of its model, 0 without one.
        note: the reason why a model file was refused, or "".
        levels: number of granularity levels, of which a click's scale chooses one (1: coarsest, 0: finest); 0 for a
            continuous scale.
    """

    scene: str
    count: int
    model_steps: int = 0
    note: str = ""
    levels: int = 0


@dataclass(frozen=True, eq=False)
class ModelFile(Reply):
    """A scene's trained model: `data` is [B] uint8, the bytes of a `.saga` file."""

    scene: str
    data: np.ndarray


@dataclass(frozen=True, eq=False)
class Progress(Reply):
    """The progress of a request. A newer one replaces older ones.

    Attributes:
        phase: description of the phase.
        step, total: progress of the phase.
        eta: seconds until its end, negative if unknown.
        loss: loss of the newest training step, NaN without one.
    """

    phase: str
    step: int
    total: int
    eta: float = -1.0
    loss: float = math.nan


@dataclass(frozen=True, eq=False)
class Trained(Reply):
    """Training has ended.

    Attributes:
        scene: fingerprint of the trained cloud.
        steps: optimizer steps.
        masks, views: numbers of used masks and views.
        coverage: share of the surface that virtual views see, 0 to 1; 1 for given views.
        phases, seconds: names and durations of the phases.
        model_file: path of the saved model, or "".
        notes: notes for the user, such as missing photos or masks.
        levels: as in SceneState.
        unsaved: the reason why the model could not be saved, or "". If not empty, `model_file` is empty, the backend
            answers clicks from its memory, and FetchModel returns the file.
    """

    scene: str
    steps: int
    masks: int
    views: int
    coverage: float
    phases: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    model_file: str = ""
    notes: tuple[str, ...] = ()
    levels: int = 0
    unsaved: str = ""


@dataclass(frozen=True, eq=False)
class Selection(Reply):
    """The selection of a click.

    Attributes:
        bits: [ceil(T/8)] uint8, packed bits (numpy.packbits, big bit order) of all points of all objects in order.
        count: number of selected points.
        total: T, number of points.
        scale: the scale used, 0 to 1, and size_units: the same as a size in scene units.
        threshold: the threshold used.
        scores: [T] float32 cosine similarity, or empty.
        note: the reason for an empty selection, or "".
        cleaned: the results of the cleanup.
    """

    bits: np.ndarray
    count: int
    total: int
    scale: float
    size_units: float
    threshold: float
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    note: str = ""
    cleaned: Cleaned = field(default_factory=Cleaned)


@dataclass(frozen=True, eq=False)
class Clusters(Reply):
    """A scene as a tree of objects and parts. Parents come before their parts, larger siblings first.

    Attributes:
        scene: fingerprint of the cloud.
        labels: [N] int32 by `saga:id`: the smallest node with the Gaussian, -1 for none. The Gaussians of a node have
            its label or that of a descendant.
        parents: [T] int32, parent of each node; -1 for objects.
        counts: [T] int32, number of Gaussians of the node with all its parts.
        scales: [T] float32, the largest granularity, 0 to 1, at which the node is one segment.
        sizes: [T] float32, the same as a size in scene units.
        representatives: [T] int32, `saga:id` of the most typical Gaussian of the node.
        note: the reason why there are no clusters, or "".
    """

    scene: str
    labels: np.ndarray
    parents: np.ndarray
    counts: np.ndarray
    scales: np.ndarray
    sizes: np.ndarray
    representatives: np.ndarray
    note: str = ""


@dataclass(frozen=True, eq=False)
class Colors(Reply):
    """A color for every Gaussian: similar features, similar colors. `rgb` is [N,3] uint8, sRGB, by `saga:id`."""

    scene: str
    rgb: np.ndarray


@dataclass(frozen=True, eq=False)
class Candidates(Reply):
    """The candidates for a text, best first.

    Attributes:
        scene: fingerprint of the cloud.
        text: the search text.
        way: the search method, "votes" or "clusters".
        bits: [K,ceil(N/8)] uint8, packed bits (numpy.packbits, big bit order) of every candidate by `saga:id`.
        counts: [K] int32, number of Gaussians of each.
        scores: [K] float32, 0 to 1, match of the text; above 0.5, it matches better than "object", "things", ...
        matches: number of candidates that match, the first ones; 0 if none does.
        thumbnails: [K,h,w,3] uint8, sRGB, a picture of each.
        note: a note that nothing matches or that the vectors could not be saved, or "".
        described: whether this answer described the scene, which adds data to its model file.
    """

    scene: str
    text: str
    way: str
    bits: np.ndarray
    counts: np.ndarray
    scores: np.ndarray
    matches: int
    thumbnails: np.ndarray
    note: str = ""
    described: bool = False


@dataclass(frozen=True, eq=False)
class Names(Reply):
    """A name for every node of the scene's tree.

    Attributes:
        scene: fingerprint of the cloud.
        names: one per node, in the order of Clusters; "" if no word matches.
        scores: [T] float32, 0 to 1, match of the best word.
        note, described: as in Candidates.
    """

    scene: str
    names: tuple[str, ...]
    scores: np.ndarray
    note: str = ""
    described: bool = False


@dataclass(frozen=True, eq=False)
class Recolored(Reply):
    """New colors for a text: `shift` [n,3] float32 in the order of the request, to add to each Gaussian's color
    (0 to 1, the same for all directions), completely or in part."""

    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class BackendState(Reply):
    """The backend's use of its machine, in MB of 2**20 bytes.

    Attributes:
        memory: memory of the backend's process.
        available: available memory of the machine.
        device: name of the device.
        device_memory, device_total: used (by all programs) and total memory of the GPU; 0 on the CPU.
    """

    memory: int
    available: int
    device: str
    device_memory: int = 0
    device_total: int = 0


@dataclass(frozen=True, eq=False)
class Weights(Reply):
    """A verified weights file: its path on the backend's machine."""

    path: str


@dataclass(frozen=True, eq=False)
class Failed(Reply):
    """A UserError on its way to the user; code "bug" for anything that should not have happened."""

    code: str
    what: str
    why: str = ""
    fix: str = ""

    @classmethod
    def of(cls, error: UserError) -> Failed:
        """The message for an error."""
        return cls(error.code, error.what, error.why, error.fix)

    def error(self) -> UserError:
        """The error of the message."""
        return UserError(self.what, self.why, self.fix, ErrorCode.of(self.code))


@dataclass(frozen=True, eq=False)
class Stopped(Reply):
    """The request was cancelled; nothing was changed."""


@dataclass(frozen=True, eq=False)
class Done(Reply):
    """The request was carried out, without further data."""
