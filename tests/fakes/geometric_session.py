"""A session that selects by geometry: whatever projects near the clicked pixel. It needs no torch and no training.

So the tests in Blender see a real answer to a real view, matrices and ids, with a projection of their own.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import (
    BackendState,
    Candidates,
    Click,
    Cluster,
    Clusters,
    Color,
    Colors,
    Done,
    FetchModel,
    FetchWeights,
    FindText,
    InstantClick,
    LookAhead,
    ModelFile,
    Names,
    NameSegments,
    ObjectPoints,
    Prompt,
    Recolor,
    Recolored,
    Selection,
    Status,
    Train,
    Trained,
    Weights,
)
from saga_backend.common.device import Device
from saga_backend.common.progress import Control
from tests.fakes.models import saga_file
from tests.fakes.stand_in import StandIn

ENDLESS = 99_999
"""Training with this many steps goes on until it is cancelled; with `DIES` steps the process dies instead."""
DIES = 66_666
RADIUS = 12.0  # pixels
WHOLE = (ObjectPoints(np.eye(4)),)


class GeometricSession(StandIn):
    """The part of `saga_backend.serving.session.Session` that Blender sees."""

    def fetch_model(self, request: FetchModel) -> ModelFile:
        content = saga_file(request.scene, steps=self.trained(request.scene), levels=self._levels[request.scene])
        return ModelFile(request.scene, np.frombuffer(content, np.uint8))

    def train(self, request: Train, control: Control) -> Trained:
        self.known(request.scene)
        steps, pause = request.settings.steps or 5, threading.Event()
        for step in range(steps):
            control.progress("training", step, steps)
            if steps == ENDLESS:
                pause.wait(0.005)
            if steps == DIES:
                os._exit(3)
        levels = 2 if request.settings.method == "click-gaussian" else 0
        path, unsaved = request.model_file, ""
        try:
            if path:
                Path(path).write_bytes(saga_file(request.scene, steps=steps, levels=levels))
        except OSError as error:
            path, unsaved = "", f"The model cannot be saved to {path}: {error.strerror}."
        self._steps[request.scene], self._levels[request.scene] = steps, levels
        phases = ("training",), (0.5,)
        return Trained(request.scene, steps, 7, 3, 0.9, *phases, path, levels=levels, unsaved=unsaved)

    def click(self, request: Click) -> Selection:
        self.check_click(request)
        means, options, objects = self.known(request.scene), request.options, request.objects or WHOLE
        near = RADIUS * (1 if options.scale < 0 else 2 * options.scale)
        distances = [self._distances(means, objects, prompt) for prompt in request.prompts]
        distance = np.min([d for d, p in zip(distances, request.prompts, strict=True) if p.positive], axis=0)
        mask = distance < near
        for away, prompt in zip(distances, request.prompts, strict=True):
            mask &= prompt.positive | (away >= near)
        note = "" if mask.any() else "There is nothing under the click"
        scores = (1 / (1 + distance)).astype(np.float32) if options.scores else np.zeros(0, np.float32)
        scale = 0.5 if options.scale < 0 else options.scale
        return Selection(np.packbits(mask), int(mask.sum()), len(mask), scale, 1.0, 0.75, scores, note)

    def _distances(self, means: np.ndarray, objects: tuple[ObjectPoints, ...], prompt: Prompt) -> np.ndarray:
        return np.concatenate([self._of_object(means, obj, prompt) for obj in objects])

    def _of_object(self, means: np.ndarray, obj: ObjectPoints, prompt: Prompt) -> np.ndarray:
        """Pixels from a click or box to each center, infinite behind the camera."""
        view = prompt.view
        ids = obj.ids if len(obj.ids) else np.arange(len(means))
        places = means[ids]
        places[obj.moved] = obj.cloud.means
        world = places @ obj.matrix[:3, :3].T + obj.matrix[:3, 3]
        camera = world @ view.viewmat[:3, :3].T + view.viewmat[:3, 3]
        depth = np.ones(len(camera)) if view.orthographic else camera[:, 2]
        pixels = camera[:, :2] / depth[:, None] * np.diag(view.K)[:2] + view.K[:2, 2]
        low, high = prompt.pixels.min(axis=0), prompt.pixels.max(axis=0)
        distance = np.linalg.norm(pixels - np.clip(pixels, low, high) - (0.5 if (low == high).all() else 0), axis=1)
        return np.where(camera[:, 2] > 0, distance, np.inf)

    def instant_click(self, request: InstantClick, control: Control) -> Selection:
        control.progress("looking", 0, 1)
        return self.click(request)

    def look_ahead(self, request: LookAhead, control: Control) -> Done:
        self.check_weights(request)
        return Done()

    def fetch_weights(self, request: FetchWeights, control: Control) -> Weights:
        control.progress("downloading", 1, 2)
        return Weights(f"{request.folder}/{request.kind}.pth")

    def cluster(self, request: Cluster, control: Control) -> Clusters:
        """A thing of every third Gaussian, and one of two parts: the others."""
        self.trained(request.scene)
        count = len(self.known(request.scene))
        labels = np.array([0, 2, 3], np.int32)[np.arange(count) % 3]
        parents = np.array([-1, -1, 1, 1], np.int32)
        counts = np.array([np.sum(labels == 0), np.sum(labels > 0), np.sum(labels == 2), np.sum(labels == 3)], np.int32)
        scales = np.array([0.9, 0.9, 0.4, 0.4], np.float32)
        return Clusters(request.scene, labels, parents, counts, scales, scales, np.array([0, 1, 1, 2], np.int32))

    def find_text(self, request: FindText, control: Control) -> Candidates:
        """The things of `cluster`, the wanted number first: "thing 1" finds node 1; other texts fit nothing."""
        self.trained(request.scene)
        self.check_weights(request)
        tree = self.cluster(Cluster(request.scene), control)
        masks = [tree.labels == 0, tree.labels > 0]
        wanted = int(request.text.removeprefix("thing ")) if request.text.startswith("thing ") else -1
        order = [wanted, 1 - wanted] if wanted in (0, 1) else [0, 1]
        bits = np.stack([np.packbits(masks[i]) for i in order])
        counts = np.array([masks[i].sum() for i in order], np.int32)
        scores = np.array([0.9, 0.2] if wanted >= 0 else [0.3, 0.2], np.float32)
        pictures = np.zeros((2, 8, 8, 3), np.uint8)
        pictures[0, ..., 0], pictures[1, ..., 1] = 255, 255
        note = "" if wanted >= 0 else "Nothing here looks like that"
        matches = int(wanted >= 0)
        return Candidates(request.scene, request.text, "votes", bits, counts, scores, matches, pictures, note)

    def name_segments(self, request: NameSegments, control: Control) -> Names:
        """The words in their order, as far as they go."""
        self.trained(request.scene)
        self.check_weights(request)
        count = len(self.cluster(Cluster(request.scene), control).parents)
        names = [*request.words, *[""] * count][:count]
        return Names(request.scene, tuple(names), np.ones(count, np.float32))

    def recolor(self, request: Recolor, control: Control) -> Recolored:
        """From red to blue, a little more to the top; "forever" is never reached, "nothing" is refused."""
        self.check_weights(request)
        if request.text == "nothing":
            raise UserError(
                "The two texts say the same", fix="Say what it shall look like instead", code=ErrorCode.BAD_TEXT
            )
        step, pause = 0, threading.Event()
        while step < 3 or request.text == "forever":
            control.loss = 1 / (1 + step)
            control.progress("recoloring", step, 3)
            pause.wait(0.005)
            step += 1
        shift = np.tile(np.array([-0.5, 0.0, 0.5], np.float32), (len(request.cloud), 1))
        shift[:, 1] = 0.01 * request.cloud.means[:, 2]
        return Recolored(shift)

    def color(self, request: Color) -> Colors:
        self.trained(request.scene)
        count = len(self.known(request.scene))
        return Colors(request.scene, np.repeat(np.arange(count, dtype=np.uint8)[:, None], 3, axis=1))

    def status(self, request: Status) -> BackendState:
        return BackendState(512, 4096, "a fake GPU", 1024, 8192)


def open_session(wanted: str) -> tuple[Device, GeometricSession]:
    """As `saga_backend.serving.server.open_session`."""
    return Device("cpu", "a fake that selects by geometry"), GeometricSession()
