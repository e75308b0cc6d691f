"""What the backend answers, one frozen dataclass each; see messages.py for the rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import ErrorCode, UserError
from .message import PROTOCOL_VERSION, Reply
from .parts import Cleaned


@dataclass(frozen=True, eq=False)
class Welcome(Reply):
    """The server is ready. `device` is "cuda" or "cpu", `note` says in plain words what was found, `machine` is the
    name of its machine where clients come from others, `obstacle` why a GPU that is there is not used.
    """

    protocol: int = PROTOCOL_VERSION
    backend: str = ""
    device: str = "cpu"
    note: str = ""
    machine: str = ""
    obstacle: str = ""


@dataclass(frozen=True, eq=False)
class SceneState(Reply):
    """A scene as the backend has it.

    Attributes:
        scene: fingerprint of the cloud.
        count: its Gaussians.
        model_steps: optimizer steps of its model, 0 without one.
        note: why a model file was not taken, or "".
        levels: of granularity, from which a click's scale chooses (1: the coarsest, 0: the finest); 0: any scale.
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
    """How far a request is. A newer one replaces older ones.

    Attributes:
        phase: what is being done.
        step, total: of the phase.
        eta: seconds until its end, negative when unknown.
        loss: of the newest training step, NaN where nothing is learned.
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
        masks, views: how many were used.
        coverage: share of the surface that virtual views see, 0 to 1; 1 for views that were given.
        phases, seconds: parallel: what took how long.
        model_file: where the model was saved, or "".
        notes: what the user should know: photos, masks that were missing.
        levels: as in SceneState.
        unsaved: why the model could not be saved where it was to be, ""; then `model_file` is empty, the backend
            answers clicks from its memory, and FetchModel gives the file.
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
    """What a click selected.

    Attributes:
        bits: [ceil(T/8)] uint8, packed bits (numpy.packbits, big bit order) of all points of all objects in order.
        count: number of selected points.
        total: T, number of points.
        scale: the scale used, 0 to 1, and size_units: the same as a size in scene units.
        threshold: the threshold used.
        scores: [T] float32 cosine similarity, or empty.
        note: why nothing was selected, or "".
        cleaned: what the clean-up did.
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
    """A scene as a tree of things and parts. A parent stands before its parts, the larger of siblings first.

    Attributes:
        scene: fingerprint of the cloud.
        labels: [N] int32 by `saga:id`: the smallest node that holds the Gaussian, -1 for none. A node's Gaussians
            are those labeled with it or with a node below it.
        parents: [T] int32, node that a node is a part of; -1: a thing of its own.
        counts: [T] int32, Gaussians of the node with all its parts.
        scales: [T] float32, the largest granularity 0 to 1 at which it is one thing.
        sizes: [T] float32, the same as a size in scene units.
        representatives: [T] int32, `saga:id` of the Gaussian that is most typical of the node.
        note: why there are no clusters, or "".
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
    """What a text may mean, the best first.

    Attributes:
        scene: fingerprint of the cloud.
        text: what was looked for.
        way: "votes" or "clusters", how it was found.
        bits: [K,ceil(N/8)] uint8, packed bits (numpy.packbits, big bit order) of every candidate by `saga:id`.
        counts: [K] int32, Gaussians of each.
        scores: [K] float32, 0 to 1, how well the text fits; above 0.5 it fits better than "object", "things", ...
        matches: the first so many candidates fit; 0: nothing in the scene does.
        thumbnails: [K,h,w,3] uint8, sRGB, a picture of each.
        note: that nothing fits, or that the vectors could not be kept; else "".
        described: whether the scene was described for this answer: its model's file has, or could have, more in it.
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
        names: one a node, in the order of Clusters; "" where no word fits.
        scores: [T] float32, 0 to 1, how well the best word fits.
        note, described: as in Candidates.
    """

    scene: str
    names: tuple[str, ...]
    scores: np.ndarray
    note: str = ""
    described: bool = False


@dataclass(frozen=True, eq=False)
class Recolored(Reply):
    """The colors that a text asks for: `shift` [n,3] float32 in the order of the request, to be added to each
    Gaussian's color (0 to 1, the same from all sides). Any share of it may be added."""

    shift: np.ndarray


@dataclass(frozen=True, eq=False)
class BackendState(Reply):
    """What the backend takes of its machine, in MB of 2**20 bytes.

    Attributes:
        memory: of the backend's process.
        available: of the machine, that could still be taken.
        device: what computes, by name.
        device_memory, device_total: in use on the GPU, by anybody, and all it has; 0 on the CPU.
    """

    memory: int
    available: int
    device: str
    device_memory: int = 0
    device_total: int = 0


@dataclass(frozen=True, eq=False)
class Weights(Reply):
    """A file of weights is there and its SHA-256 right: its path on the backend's machine."""

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
        """What is sent of an error."""
        return cls(error.code, error.what, error.why, error.fix)

    def error(self) -> UserError:
        """The error that was sent."""
        return UserError(self.what, self.why, self.fix, ErrorCode.of(self.code))


@dataclass(frozen=True, eq=False)
class Stopped(Reply):
    """The request was cancelled; nothing was changed."""


@dataclass(frozen=True, eq=False)
class Done(Reply):
    """The request was carried out; there is nothing more to say."""
