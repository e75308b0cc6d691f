"""What a client asks of the backend, one frozen dataclass each; see messages.py for the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .parts import CleanUp, ObjectPoints, Prompt, TrainSettings, TrainSources, no_ids

PROTOCOL_VERSION = 3


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
        model_file: path of the `.saga` file to open if it exists; "" for none.
    """

    scene: str
    cloud: GaussianCloud
    ids: np.ndarray = field(default_factory=no_ids)
    count: int = 0
    model_file: str = ""


@dataclass(frozen=True, eq=False)
class OpenModel:
    """Open the trained model of a loaded scene from the bytes of its `.saga` file, where the backend is on another
    machine than the file. Answer: SceneState; Failed leaves the scene as it was.

    Attributes:
        scene: fingerprint of the cloud.
        data: [B] uint8, the file. It is checked as a file is.
        name: what the user knows the file as.
    """

    scene: str
    data: np.ndarray
    name: str = "The model"


@dataclass(frozen=True, eq=False)
class FetchModel:
    """Send the trained model of a scene as the bytes of a `.saga` file, what texts found out included. Answer:
    ModelFile."""

    scene: str


@dataclass(frozen=True, eq=False)
class Train:
    """Train affinity features of a loaded scene. Progress with phase, step, total; answer: Trained.

    The model file is replaced only when training has ended well; "" keeps the model in memory only, and so does a place
    that cannot be written to any more at the end.
    """

    scene: str
    model_file: str = ""
    settings: TrainSettings = field(default_factory=TrainSettings)
    sources: TrainSources = field(default_factory=TrainSources)


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
        method: "segments": by the segments on which the masks agree; "saga": by similarity of features; "auto": by the
            segments where they hold the click and no threshold is given, else by features; "instant": by what Segment
            Anything sees in the picture, nothing has to be trained (progress is told).
        snap: replace a selection by features with the segment that is much like it.
        want_scores: also send the similarity of every point.
        clean_up: what is done to the selection afterwards.
        weights: path of Segment Anything's weights on the backend's machine, for "instant"; "auto" asks it too where
            it has encoded the view and neither segments nor features are sure. "": neither.
        neighbors: how many views around the thing "instant" asks too, 0 to 8; negative: by how long each takes.
    """

    scene: str
    prompts: tuple[Prompt, ...]
    objects: tuple[ObjectPoints, ...] = ()
    scale: float = -1.0
    threshold: float = -1.0
    method: str = "auto"
    snap: bool = True
    want_scores: bool = False
    clean_up: CleanUp = field(default_factory=CleanUp)
    weights: str = ""
    neighbors: int = -1


@dataclass(frozen=True, eq=False)
class LookAhead:
    """Have Segment Anything encode a view, so that instant clicks in it are answered at once. Answer: Done.

    Attributes:
        scene: fingerprint of the cloud.
        view: as clicks in it will have it.
        weights: path of Segment Anything's weights on the backend's machine.
        objects: who takes part, where they stand.
    """

    scene: str
    view: View
    weights: str
    objects: tuple[ObjectPoints, ...] = ()


@dataclass(frozen=True, eq=False)
class FetchWeights:
    """Download an official file of Segment Anything's or OpenCLIP's weights. Progress in MB; answer: Weights.

    The user was asked. What was downloaded before is not downloaded again, a download that was broken off goes on.

    Attributes:
        kind: "vit_h", "vit_l", "vit_b", or "ViT-B-16" of OpenCLIP.
        folder: on the backend's machine; "": the user's cache there.
    """

    kind: str
    folder: str = ""


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
class Color:
    """Color the features by their principal components. Answer: Colors.

    Attributes:
        scene: fingerprint of the trained cloud.
        scale: granularity 0 to 1 whose gate is applied first; negative: the features as they are.
    """

    scene: str
    scale: float = -1.0


@dataclass(frozen=True, eq=False)
class FindText:
    """Find what a text means. Progress with phase, step, total; answer: Candidates.

    The first text of a scene has everything in it described by CLIP, which takes minutes on a CPU; the vectors are kept
    with the model, so that later texts are answered at once.

    Attributes:
        scene: fingerprint of the trained cloud.
        text: what is looked for, as a person would say it.
        weights: path of OpenCLIP weights on the backend's machine.
        model_file: the `.saga` file that the vectors are kept in; "" keeps them in memory only.
        way: "votes": masks of many views vote (SAGA; needs features), "clusters": clusters are drawn alone
            (Click-Gaussian), "auto": votes where there are features.
        limit: candidates that are answered at most.
    """

    scene: str
    text: str
    weights: str
    model_file: str = ""
    way: str = "auto"
    limit: int = 8


@dataclass(frozen=True, eq=False)
class NameSegments:
    """Choose a name for every node of the scene's tree (Cluster) from a list. Progress as FindText; answer: Names.

    Attributes:
        scene: fingerprint of the trained cloud.
        words: to choose from.
        weights, model_file: as in FindText.
    """

    scene: str
    words: tuple[str, ...]
    weights: str
    model_file: str = ""


@dataclass(frozen=True, eq=False)
class Recolor:
    """Lead the colors of some Gaussians from one text to another. Progress with the loss; answer: Recolored.

    The Gaussians themselves are sent, with the colors they have now: no scene is loaded and nothing is trained.

    Attributes:
        cloud: those that are to change, as they stand in a world whose z axis points up.
        source: what they look like, as a person would say it: "red box".
        text: what they shall look like: "blue box".
        weights: as in FindText.
        steps: of the optimizer; 0: the default.
        seed: of the order in which they are looked at.
    """

    cloud: GaussianCloud
    source: str
    text: str
    weights: str
    steps: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Status:
    """Ask what the backend takes of this machine. Answer: BackendState, at once, whatever else is under way."""


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
