"""Answers that are none to what was asked are refused in one sentence; honest ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.client.connection.reply_checks import complaint, request_info
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import (
    Candidates,
    Click,
    Cluster,
    Clusters,
    Color,
    Colors,
    Done,
    FindText,
    LoadScene,
    Names,
    NameSegments,
    ObjectPoints,
    Prompt,
    Recolor,
    Recolored,
    SceneState,
    Selection,
    Unload,
)
from blender_saga.wire.parts import no_gaussians

I32, F32, U8 = np.int32, np.float32, np.uint8
PROMPT = Prompt(View(np.eye(4), np.eye(3), 4, 4), np.zeros((1, 2), F32))
CLICK = Click("s", (PROMPT,), (ObjectPoints(np.eye(4), np.arange(10, dtype=I32)),))
SELECTION = Selection(np.zeros(2, U8), 0, 10, 0.5, 1.0, 0.7)
CLUSTER = Cluster("s")
TREE = Clusters(
    "s", np.array([0, 1, 1, -1], I32), np.array([-1, 0], I32), np.array([3, 2], I32), np.ones(2, F32), np.ones(2, F32),
    np.array([0, 1], I32),
)  # fmt: skip
FIND = FindText("s", "t", "w")
CANDIDATES = Candidates(
    "s", "t", "votes", np.zeros((2, 1), U8), np.zeros(2, I32), np.zeros(2, F32), 1, np.zeros((2, 8, 8, 3), U8)
)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (CLICK, SELECTION),
        (CLICK, replace(SELECTION, scores=np.zeros(10, F32))),
        (Click("s", ()), replace(SELECTION, total=77, bits=np.zeros(10, U8))),
        (CLUSTER, TREE),
        (FIND, CANDIDATES),
        (Color("s"), Colors("s", np.zeros((5, 3), U8))),
        (NameSegments("s", ("a",), "w"), Names("s", ("a", ""), np.zeros(2, F32))),
        (Recolor(no_gaussians(), "a", "b", "w"), Recolored(np.zeros((0, 3), F32))),
        (LoadScene("s", no_gaussians()), SceneState("s", 0)),
        (Unload("s"), Done()),
    ],
    ids=lambda message: type(message).__name__,
)
def test_honest_answers_are_taken(request_: object, answer: object) -> None:
    assert complaint(request_info(request_), answer) == ""


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (CLICK, Done()),
        (CLICK, TREE),
        (CLICK, replace(SELECTION, total=11)),
        (CLICK, replace(SELECTION, total=-1)),
        (CLICK, replace(SELECTION, bits=np.zeros(3, U8))),
        (CLICK, replace(SELECTION, bits=np.zeros((2, 1), U8))),
        (CLICK, replace(SELECTION, bits=np.zeros(2, F32))),
        (CLICK, replace(SELECTION, count=11)),
        (CLICK, replace(SELECTION, scores=np.zeros(9, F32))),
        (CLICK, replace(SELECTION, scores=np.zeros((10, 1), F32))),
        (CLUSTER, replace(TREE, scene="another")),
        (CLUSTER, replace(TREE, labels=np.array([2], I32))),
        (CLUSTER, replace(TREE, labels=np.array([-2], I32))),
        (CLUSTER, replace(TREE, labels=np.array([0.5], F32))),
        (CLUSTER, replace(TREE, labels=np.array(3, I32))),
        (CLUSTER, replace(TREE, parents=np.array([1, 0], I32))),
        (CLUSTER, replace(TREE, parents=np.array([0, -1], I32))),
        (CLUSTER, replace(TREE, parents=np.array([-1, 7], I32))),
        (CLUSTER, replace(TREE, parents=np.array([-1, -2], I32))),
        (CLUSTER, replace(TREE, counts=np.zeros(3, I32))),
        (CLUSTER, replace(TREE, representatives=np.array([0, 9], I32))),
        (FIND, replace(CANDIDATES, bits=np.zeros(2, U8))),
        (FIND, replace(CANDIDATES, matches=3)),
        (FIND, replace(CANDIDATES, scores=np.zeros(1, F32))),
        (FIND, replace(CANDIDATES, thumbnails=np.zeros((2, 8, 8, 4), U8))),
        (FIND, replace(CANDIDATES, thumbnails=np.zeros((0, 8, 8, 3), U8))),
        (Color("s"), Colors("s", np.zeros((5, 4), U8))),
        (NameSegments("s", ("a",), "w"), Names("s", ("a",), np.zeros(2, F32))),
        (Recolor(no_gaussians(), "a", "b", "w"), Recolored(np.zeros((1, 3), F32))),
        (LoadScene("s", no_gaussians()), SceneState("another", 0)),
    ],
)
def test_others_are_refused(request_: object, answer: object) -> None:
    assert complaint(request_info(request_), answer)
