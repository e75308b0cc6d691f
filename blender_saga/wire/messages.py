"""Every message between Blender (client) and the backend (server), one frozen dataclass each.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View

PROTOCOL_VERSION = 1


def _no_ids() -> np.ndarray:
    return np.zeros(0, np.int32)


# --- client -> server -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Hello:
    """First message of a client. Answer: Welcome; another protocol version is refused with one sentence."""

    protocol: int = PROTOCOL_VERSION
    client: str = ""


@dataclass(frozen=True, eq=False)
class LoadScene:
    """Give the backend the geometry of a cloud and open its trained model if there is one. Answer: SceneState.

    Attributes:
        scene: fingerprint of the cloud the ids refer to; the name of the scene in later messages.
        cloud: the Gaussians that are at hand (object space of the import).
        ids: [N] int32 `saga:id` of each; empty means 0..N-1.
        count: number of Gaussians of the whole cloud (ids are below it; deleted ones are missing in `cloud`).
        sidecar: path of the `.saga` file to open if it exists; "" for none.
    """

    scene: str
    cloud: GaussianCloud
    ids: np.ndarray = field(default_factory=_no_ids)
    count: int = 0
    sidecar: str = ""


@dataclass(frozen=True)
class TrainSettings:
    """What a user may choose for training; 0 means the default of the device.

    Attributes:
        method: "saga".
        steps: optimiser steps.
        views: limit of virtual views.
        width, height: pixels of a virtual view.
        pixels: pixels sampled a step.
        seed: of every random draw.
    """

    method: str = "saga"
    steps: int = 0
    views: int = 0
    width: int = 0
    height: int = 0
    pixels: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Train:
    """Train affinity features of a loaded scene. Progress with phase, step, total; answer: Trained.

    The sidecar is replaced only when training has ended well; "" keeps the model in memory only.
    """

    scene: str
    sidecar: str = ""
    settings: TrainSettings = TrainSettings()


@dataclass(frozen=True, eq=False)
class ObjectPoints:
    """One object that takes part in a query.

    Attributes:
        matrix: [4,4] float64, object to world.
        ids: [M] int32, `saga:id` of its points in order; empty means 0..count-1 of the scene.
    """

    matrix: np.ndarray
    ids: np.ndarray = field(default_factory=_no_ids)


@dataclass(frozen=True, eq=False)
class Click:
    """Select what is under the pixels. Answer: Selection.

    Attributes:
        scene: fingerprint of the trained cloud.
        view: the view in world space.
        pixels: [P,2] float32, column and row, origin at the top left corner.
        positive: [P] bool, False for "not this".
        objects: who takes part, where they stand.
        scale: granularity 0 (parts) to 1 (largest things); negative: chosen from the click.
        threshold: cosine similarity above which a Gaussian is selected; negative: the default.
        want_scores: also send the similarity of every point.
    """

    scene: str
    view: View
    pixels: np.ndarray
    positive: np.ndarray
    objects: tuple[ObjectPoints, ...] = ()
    scale: float = -1.0
    threshold: float = -1.0
    want_scores: bool = False


@dataclass(frozen=True, eq=False)
class Cancel:
    """Stop the request with id `target`. Answer: Done; the target's own answer is Stopped."""

    target: int


@dataclass(frozen=True, eq=False)
class Unload:
    """Forget a scene and free its memory. Answer: Done."""

    scene: str


@dataclass(frozen=True, eq=False)
class Shutdown:
    """End the backend process. Answer: Done, then the process ends."""


# --- server -> client -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Welcome:
    """The server is ready. `device` is "cuda" or "cpu", `note` says in plain words what was found."""

    protocol: int = PROTOCOL_VERSION
    backend: str = ""
    device: str = "cpu"
    note: str = ""


@dataclass(frozen=True, eq=False)
class SceneState:
    """A scene as the backend has it: `model_steps` is 0 without a model; `note` says why a sidecar was not taken."""

    scene: str
    count: int
    model_steps: int = 0
    note: str = ""


@dataclass(frozen=True, eq=False)
class Progress:
    """How far a request is. A newer one replaces older ones. `eta` in seconds, negative when unknown."""

    phase: str
    step: int
    total: int
    eta: float = -1.0


@dataclass(frozen=True, eq=False)
class Trained:
    """Training has ended. `phases` and `seconds` are parallel: what took how long."""

    scene: str
    steps: int
    masks: int
    views: int
    coverage: float
    phases: tuple[str, ...] = ()
    seconds: tuple[float, ...] = ()
    sidecar: str = ""


@dataclass(frozen=True, eq=False)
class Selection:
    """What a click selected.

    Attributes:
        bits: [ceil(T/8)] uint8, packed bits (numpy.packbits, big bit order) of all points of all objects in order.
        count: number of selected points.
        total: T, number of points.
        scale: the scale used, 0 to 1, and size_units: the same as a size in scene units.
        threshold: the threshold used.
        scores: [T] float32 cosine similarity, or empty.
        note: why nothing was selected, or "".
    """

    bits: np.ndarray
    count: int
    total: int
    scale: float
    size_units: float
    threshold: float
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    note: str = ""


@dataclass(frozen=True, eq=False)
class Failed:
    """A UserError on its way to the user; code "bug" for anything that should not have happened."""

    code: str
    what: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, eq=False)
class Stopped:
    """The request was cancelled; nothing was changed."""


@dataclass(frozen=True, eq=False)
class Done:
    """The request was carried out; there is nothing more to say."""


REQUESTS = (Hello, LoadScene, Train, Click, Cancel, Unload, Shutdown)
REPLIES = (Welcome, SceneState, Progress, Trained, Selection, Failed, Stopped, Done)
PARTS = (GaussianCloud, View, TrainSettings, ObjectPoints)
"""Dataclasses that may stand inside a message."""
