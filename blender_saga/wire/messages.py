"""Every message between Blender (client) and the backend (server).

They are defined by their direction: `requests`, `replies`; `parts` stand inside them. Import them from here.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

from ..gaussians.cloud import GaussianCloud
from ..gaussians.view import View
from .parts import Cleaned, CleanUp, ObjectPoints, Prompt, TrainSettings
from .replies import Clusters, Colours, Done, Failed, Progress, SceneState, Selection, Stopped, Trained, Welcome
from .requests import PROTOCOL_VERSION, Cancel, Click, Cluster, Colour, Hello, LoadScene, Shutdown, Train, Unload

REQUESTS = (Hello, LoadScene, Train, Click, Cluster, Colour, Cancel, Unload, Shutdown)
REPLIES = (Welcome, SceneState, Progress, Trained, Selection, Clusters, Colours, Failed, Stopped, Done)
PARTS = (GaussianCloud, View, TrainSettings, ObjectPoints, Prompt, CleanUp, Cleaned)
"""Dataclasses that may stand inside a message."""

__all__ = [
    "PROTOCOL_VERSION",
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
    "Stopped",
    "Train",
    "TrainSettings",
    "Trained",
    "Unload",
    "Welcome",
]
