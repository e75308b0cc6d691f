"""Every message between Blender (client) and the backend (server), one frozen dataclass each.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View

PROTOCOL_VERSION = 2


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
        method: "saga" trains features; "evidence" only finds the segments on which the masks agree.
        recipe: "prototypes" trains a code for every segment, "paper" a feature for every Gaussian, as its authors do.
        steps: optimiser steps.
        views: limit of virtual views.
        width, height: pixels of a virtual view.
        pixels: pixels sampled a step.
        seed: of every random draw.
    """

    method: str = "saga"
    recipe: str = "prototypes"
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
class Prompt:
    """One thing pointed at in one view: clicked pixels, a box or a lasso, all of them "this" or "not this".

    Attributes:
        view: the view it was made in, world space.
        pixels: column and row, float32, origin at the top left corner. "points": [P,2], each clicked, inside the
            picture. "box": [2,2], two opposite corners. "lasso": [K,2], the corners in order, K >= 3. Boxes and
            lassos may reach over the picture's edge.
        kind: "points", "box" or "lasso".
        positive: False for "not this".
    """

    view: View
    pixels: np.ndarray
    kind: str = "points"
    positive: bool = True


@dataclass(frozen=True)
class CleanUp:
    """What is done to a selection before it is answered, in this order; each step is optional and reported.

    Attributes:
        floaters: drop specks away from the rest, and faint Gaussians far larger than the others.
        connected: keep only the parts that were clicked.
        holes: add small gaps that selected Gaussians surround.
        visible: keep only what is seen in a view of a positive prompt.
    """

    floaters: bool = False
    connected: bool = False
    holes: bool = False
    visible: bool = False


@dataclass(frozen=True, eq=False)
class Click:
    """Select what is pointed at. Answer: Selection.

    A refinement sends all prompts so far, each with the view in which it was made, in any order. The nearest prompt
    decides: a Gaussian is selected if it is like a positive prompt by more than the threshold, and less like every
    negative one. Without a positive prompt the selection is empty.

    Attributes:
        scene: fingerprint of the trained cloud.
        prompts: what is wanted and what is not.
        objects: who takes part, where they stand.
        scale: granularity 0 (parts) to 1 (largest things); negative: chosen from the click.
        threshold: cosine similarity above which a Gaussian is selected; negative: the default.
        method: "evidence": by the segments on which the masks agree; "saga": by similarity of features; "auto": by the
            segments where they hold the click and no threshold is given, else by features.
        snap: replace a selection by features with the segment that is much like it.
        want_scores: also send the similarity of every point.
        clean_up: what is done to the selection afterwards.
    """

    scene: str
    prompts: tuple[Prompt, ...]
    objects: tuple[ObjectPoints, ...] = ()
    scale: float = -1.0
    threshold: float = -1.0
    method: str = "auto"
    snap: bool = True
    want_scores: bool = False
    clean_up: CleanUp = CleanUp()


@dataclass(frozen=True, eq=False)
class Cluster:
    """Divide the whole scene into things and their parts. Progress with phase, step, total; answer: Clusters.

    A second request of the same settings is answered from memory as long as the model is the same.

    Attributes:
        scene: fingerprint of the trained cloud.
        scales: [S] float32, granularities 0 to 1 at which to look for things; empty: an even sweep.
        smallest: Gaussians that a cluster must hold at least; 0: chosen from the size of the scene.
    """

    scene: str
    scales: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    smallest: int = 0


@dataclass(frozen=True, eq=False)
class Colour:
    """Colour the features by their principal components. Answer: Colours.

    Attributes:
        scene: fingerprint of the trained cloud.
        scale: granularity 0 to 1 whose gate is applied first; negative: the features as they are.
    """

    scene: str
    scale: float = -1.0


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


@dataclass(frozen=True)
class Cleaned:
    """How many points each step of the clean-up dropped (`holes`: added); 0 where it was not asked for."""

    floaters: int = 0
    connected: int = 0
    holes: int = 0
    visible: int = 0


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
    cleaned: Cleaned = Cleaned()


@dataclass(frozen=True, eq=False)
class Clusters:
    """A scene as a tree of things and parts. A parent stands before its parts, the larger of siblings first.

    Attributes:
        scene: fingerprint of the cloud.
        labels: [N] int32 by `saga:id`: the smallest node that holds the Gaussian, -1 for none. A node's Gaussians
            are those labelled with it or with a node below it.
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
class Colours:
    """A colour for every Gaussian: similar features, similar colours. `rgb` is [N,3] uint8, sRGB, by `saga:id`."""

    scene: str
    rgb: np.ndarray


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


REQUESTS = (Hello, LoadScene, Train, Click, Cluster, Colour, Cancel, Unload, Shutdown)
REPLIES = (Welcome, SceneState, Progress, Trained, Selection, Clusters, Colours, Failed, Stopped, Done)
PARTS = (GaussianCloud, View, TrainSettings, ObjectPoints, Prompt, CleanUp, Cleaned)
"""Dataclasses that may stand inside a message."""
