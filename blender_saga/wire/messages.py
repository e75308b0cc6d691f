"""Every message between Blender (client) and the backend (server).

They are defined by their direction: `requests`, `replies`; `parts` stand inside them. Import them from here.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .parts import Cleaned, CleanUp, ObjectPoints, Prompt, SamOptions, TrainSettings, TrainSources
from .replies import (
    BackendState,
    Candidates,
    Clusters,
    Colors,
    Done,
    Failed,
    ModelFile,
    Names,
    Progress,
    Recolored,
    SceneState,
    Selection,
    Stopped,
    Trained,
    Weights,
    Welcome,
)
from .requests import (
    PROTOCOL_VERSION,
    Cancel,
    Click,
    Cluster,
    Color,
    FetchModel,
    FetchWeights,
    FindText,
    Hello,
    LoadScene,
    LookAhead,
    NameSegments,
    OpenModel,
    Recolor,
    Shutdown,
    Status,
    Train,
    Unload,
)

REQUESTS = (
    Hello,
    LoadScene,
    OpenModel,
    FetchModel,
    Train,
    Click,
    LookAhead,
    Cluster,
    Color,
    FindText,
    NameSegments,
    Recolor,
    FetchWeights,
    Status,
    Cancel,
    Unload,
    Shutdown,
)
REPLIES = (
    Welcome,
    SceneState,
    ModelFile,
    Progress,
    Trained,
    Selection,
    Clusters,
    Colors,
    Candidates,
    Names,
    Recolored,
    Weights,
    BackendState,
    Failed,
    Stopped,
    Done,
)
PARTS = (GaussianCloud, View, TrainSettings, SamOptions, TrainSources, ObjectPoints, Prompt, CleanUp, Cleaned)
"""Dataclasses that may stand inside a message."""

__all__ = [
    "PROTOCOL_VERSION",
    "BackendState",
    "Cancel",
    "Candidates",
    "CleanUp",
    "Cleaned",
    "Click",
    "Cluster",
    "Clusters",
    "Color",
    "Colors",
    "Done",
    "Failed",
    "FetchModel",
    "FetchWeights",
    "FindText",
    "Hello",
    "LoadScene",
    "LookAhead",
    "ModelFile",
    "NameSegments",
    "Names",
    "ObjectPoints",
    "OpenModel",
    "Progress",
    "Prompt",
    "Recolor",
    "Recolored",
    "SamOptions",
    "SceneState",
    "Selection",
    "Shutdown",
    "Status",
    "Stopped",
    "Train",
    "TrainSettings",
    "TrainSources",
    "Trained",
    "Unload",
    "Weights",
    "Welcome",
]
