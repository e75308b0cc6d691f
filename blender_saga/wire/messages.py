"""Every message between Blender (client) and the backend (server).

They are defined by their direction: `requests`, `replies`; `parts` stand inside them. Import them from here.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .parts import Cleaned, CleanUp, ObjectPoints, Prompt, TrainSettings, TrainSources
from .replies import (
    BackendState,
    Candidates,
    Clusters,
    Colours,
    Done,
    Failed,
    Names,
    Progress,
    SceneState,
    Selection,
    Stopped,
    Trained,
    Welcome,
)
from .requests import (
    PROTOCOL_VERSION,
    Cancel,
    Click,
    Cluster,
    Colour,
    FindText,
    Hello,
    LoadScene,
    NameThings,
    Shutdown,
    Status,
    Train,
    Unload,
)

REQUESTS = (Hello, LoadScene, Train, Click, Cluster, Colour, FindText, NameThings, Status, Cancel, Unload, Shutdown)
REPLIES = (
    Welcome,
    SceneState,
    Progress,
    Trained,
    Selection,
    Clusters,
    Colours,
    Candidates,
    Names,
    BackendState,
    Failed,
    Stopped,
    Done,
)
PARTS = (GaussianCloud, View, TrainSettings, TrainSources, ObjectPoints, Prompt, CleanUp, Cleaned)
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
    "FindText",
    "Hello",
    "LoadScene",
    "NameThings",
    "Names",
    "ObjectPoints",
    "Progress",
    "Prompt",
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
    "Welcome",
]
