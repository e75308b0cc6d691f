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
    Clusters,
    Colours,
    Done,
    Failed,
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
    Hello,
    LoadScene,
    Shutdown,
    Status,
    Train,
    Unload,
)

REQUESTS = (Hello, LoadScene, Train, Click, Cluster, Colour, Status, Cancel, Unload, Shutdown)
REPLIES = (Welcome, SceneState, Progress, Trained, Selection, Clusters, Colours, BackendState, Failed, Stopped, Done)
PARTS = (GaussianCloud, View, TrainSettings, TrainSources, ObjectPoints, Prompt, CleanUp, Cleaned)
"""Dataclasses that may stand inside a message."""

__all__ = [
    "PROTOCOL_VERSION",
    "BackendState",
    "Cancel",
    "CleanUp",
    "Cleaned",
    "Click",
    "Cluster",
    "Clusters",
    "Colour",
    "Colours",
    "Done",
    "Failed",
    "Hello",
    "LoadScene",
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
