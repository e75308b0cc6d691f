"""Requests to the backend, one frozen dataclass each; see messages.py for the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .message import PROTOCOL_VERSION, Lane, PathUse, Request, path_field
from .parts import ObjectPoints, Prompt, SelectOptions, TrainSettings, TrainSources, no_ids
from .replies import (
    BackendState,
    Candidates,
    Clusters,
    Colors,
    Done,
    ModelFile,
    Names,
    Recolored,
    SceneState,
    Selection,
    Trained,
    Weights,
    Welcome,
)


@dataclass(frozen=True, eq=False)
class Hello(Request):
    """The first message of a client. Another protocol version is refused with one sentence."""

    reply = Welcome
    lane = Lane.at_once

    protocol: int = PROTOCOL_VERSION
    client: str = ""


@dataclass(frozen=True, eq=False)
class LoadScene(Request):
    """Give the backend the geometry of a cloud, and open its trained model if there is one.

    Attributes:
        scene: fingerprint of the cloud that the ids refer to; the name of the scene in later messages.
        cloud: the Gaussians that still exist, in the object space of the import.
        ids: [N] int32 `saga:id` of each; empty means 0..N-1.
        count: number of Gaussians of the whole cloud (ids are below it; `cloud` lacks the deleted ones).
        model_file: path of the `.saga` file to open if it exists; "" for none.
    """

    reply = SceneState

    scene: str
    cloud: GaussianCloud
    ids: np.ndarray = field(default_factory=no_ids)
    count: int = 0
    model_file: str = path_field(PathUse.model)


@dataclass(frozen=True, eq=False)
class OpenModel(Request):
    """Open the trained model of a loaded scene from the bytes of its `.saga` file.

    It serves a client on another machine. A refusal leaves the scene as it was.

    Attributes:
        scene: fingerprint of the cloud.
        data: [B] uint8, the file. It is checked as a file is.
        name: the file's name, for the user.
    """

    reply = SceneState

    scene: str
    data: np.ndarray
    name: str = "The model"


@dataclass(frozen=True, eq=False)
class FetchModel(Request):
    """Send the trained model of a scene as the bytes of a `.saga` file, with the vectors of its texts."""

    reply = ModelFile

    scene: str


@dataclass(frozen=True, eq=False)
class Train(Request):
    """Train a loaded scene. Progress tells phase, step and total.

    The model file is replaced only when training has ended well. "" keeps the model in memory only; so does a place
    that has become unwritable by the end.

    Attributes:
        scene: fingerprint of the cloud.
        model_file: where the model is saved.
        settings: what is learned, and how.
        sources: the views and masks it is learned from.
    """

    reply = Trained
    lane = Lane.training

    scene: str
    model_file: str = path_field(PathUse.saved_model)
    settings: TrainSettings = field(default_factory=TrainSettings)
    sources: TrainSources = field(default_factory=TrainSources)


@dataclass(frozen=True, eq=False)
class Click(Request):
    """Select what the prompts point at.

    A refinement sends all prompts so far, each with the view in which it was made, in any order. The nearest prompt
    decides: a Gaussian is selected if its similarity to a positive prompt is above the threshold and higher than to
    every negative prompt. Without a positive prompt, the selection is empty.

    Attributes:
        scene: fingerprint of the trained cloud.
        prompts: positive and negative prompts.
        objects: the objects of the query with their transforms; none for the cloud as it was trained.
        options: options of the selection.
    """

    reply = Selection

    scene: str
    prompts: tuple[Prompt, ...]
    objects: tuple[ObjectPoints, ...] = ()
    options: SelectOptions = field(default_factory=SelectOptions)


@dataclass(frozen=True, eq=False)
class InstantClick(Click):
    """Select with Segment Anything. The scene needs no model. Progress is sent."""

    lane = Lane.pictures


@dataclass(frozen=True, eq=False)
class LookAhead(Request):
    """Encode a view with Segment Anything before the first click, so that instant clicks in it are fast.

    Attributes:
        scene: fingerprint of the cloud.
        view: the view of the expected clicks.
        weights: path of Segment Anything's weights on the backend's machine.
        objects: the objects of the query with their transforms.
    """

    reply = Done
    lane = Lane.pictures

    scene: str
    view: View
    weights: str = path_field(PathUse.file)
    objects: tuple[ObjectPoints, ...] = ()


@dataclass(frozen=True, eq=False)
class FetchWeights(Request):
    """Download an official file of Segment Anything's or OpenCLIP's weights. Progress is in MB.

    The user has confirmed. An existing file is not downloaded again, and an interrupted download continues.

    Attributes:
        kind: "vit_h", "vit_l", "vit_b", or "ViT-B-16" of OpenCLIP.
        folder: folder on the backend's machine; "" for the user's cache there.
    """

    reply = Weights
    lane = Lane.pictures

    kind: str
    folder: str = path_field(PathUse.written_folder)


@dataclass(frozen=True, eq=False)
class Cluster(Request):
    """Divide the whole scene into a tree of segments. Progress tells phase, step and total.

    The backend answers a second request of the same settings from memory as long as the model is the same.

    Attributes:
        scene: fingerprint of the trained cloud.
        scales: [S] float32, granularities 0 to 1 at which to look for segments; empty: an even sweep.
        smallest: the fewest Gaussians of a cluster; 0: chosen from the size of the scene.
    """

    reply = Clusters
    lane = Lane.searches

    scene: str
    scales: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    smallest: int = 0


@dataclass(frozen=True, eq=False)
class Color(Request):
    """Color the features by their principal components.

    Attributes:
        scene: fingerprint of the trained cloud.
        scale: granularity 0 to 1 of the gate to apply; negative for the ungated features.
    """

    reply = Colors

    scene: str
    scale: float = -1.0


@dataclass(frozen=True, eq=False)
class FindText(Request):
    """Find segments by text. Progress tells phase, step and total.

    The first text of a scene has CLIP describe all of its segments, which takes minutes on a CPU. The vectors are kept
    with the model, so that later searches are fast.

    Attributes:
        scene: fingerprint of the trained cloud.
        text: the search text in plain words.
        weights: path of OpenCLIP weights on the backend's machine.
        model_file: the `.saga` file that keeps the vectors; "" keeps them in memory only.
        way: "votes": masks of many views vote (SAGA; needs features), "clusters": clusters are drawn alone
            (Click-Gaussian), "auto": votes where there are features.
        limit: largest number of candidates.
    """

    reply = Candidates
    lane = Lane.searches

    scene: str
    text: str
    weights: str = path_field(PathUse.file)
    model_file: str = path_field(PathUse.saved_model)
    way: str = "auto"
    limit: int = 8


@dataclass(frozen=True, eq=False)
class NameSegments(Request):
    """Choose a name from a list for every node of the scene's tree (Cluster). Progress as in FindText.

    Attributes:
        scene: fingerprint of the trained cloud.
        words: the words to choose from.
        weights, model_file: as in FindText.
    """

    reply = Names
    lane = Lane.searches

    scene: str
    words: tuple[str, ...]
    weights: str = path_field(PathUse.file)
    model_file: str = path_field(PathUse.saved_model)


@dataclass(frozen=True, eq=False)
class Recolor(Request):
    """Change the colors of some Gaussians from one text to another. Progress tells the loss.

    The request holds the Gaussians themselves, with their present colors: it needs no scene and no model.

    Attributes:
        cloud: the Gaussians to change, as they stand in a world whose z axis points up.
        source: their current look in plain words, for example "red box".
        text: their new look, for example "blue box".
        weights: as in FindText.
        steps: number of optimizer steps; 0 for the default.
        seed: seed of the order of the views.
    """

    reply = Recolored
    lane = Lane.searches

    cloud: GaussianCloud
    source: str
    text: str
    weights: str = path_field(PathUse.file)
    steps: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Status(Request):
    """Ask how much of this machine the backend uses. The answer comes at once, whatever else is under way."""

    reply = BackendState
    lane = Lane.at_once


@dataclass(frozen=True, eq=False)
class Cancel(Request):
    """Stop the request with id `target`, which then answers Stopped."""

    reply = Done
    lane = Lane.at_once

    target: int


@dataclass(frozen=True, eq=False)
class Unload(Request):
    """Forget a scene and free its memory."""

    reply = Done

    scene: str


@dataclass(frozen=True, eq=False)
class Shutdown(Request):
    """End the backend process, after the answer."""

    reply = Done
    lane = Lane.at_once
