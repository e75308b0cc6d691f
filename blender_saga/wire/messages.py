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
    Colours,
    Done,
    Failed,
    ModelFile,
    Names,
    Progress,
    Recoloured,
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
    Colour,
    FetchModel,
    FetchWeights,
    FindText,
    Hello,
    LoadScene,
    LookAhead,
    NameThings,
    OpenModel,
    Recolour,
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
    Colour,
    FindText,
    NameThings,
    Recolour,
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
    Colours,
    Candidates,
    Names,
    Recoloured,
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
    "Colour",
    "Colours",
    "Done",
    "Failed",
    "FetchModel",
    "FetchWeights",
    "FindText",
    "Hello",
    "LoadScene",
    "LookAhead",
    "ModelFile",
    "NameThings",
    "Names",
    "ObjectPoints",
    "OpenModel",
    "Progress",
    "Prompt",
    "Recolour",
    "Recoloured",
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
