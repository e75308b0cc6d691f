"""The trainings of this run of Blender: the current one, its losses, the last result, an interrupted one."""

from __future__ import annotations

from dataclasses import dataclass

from ...wire.messages import Train, Trained
from .monitor import LossCurve
from .request import SceneRequest


@dataclass(frozen=True, eq=False)
class Training:
    """One training of one object.

    Attributes:
        request: the request to the backend.
        uid: `session_uid` of the object, because names can change and undo invalidates references.
        fingerprint: fingerprint of the sent cloud.
        count: number of its Gaussians.
    """

    request: SceneRequest
    uid: int
    fingerprint: str
    count: int


class Trainings:
    """The trainings of this Blender process; see `trainings` below.

    Attributes:
        request: the current or last training, or None.
        result: result of the last training; None before its end.
        interrupted: the training that was interrupted when its backend ended, or None.
        losses: losses of the current or last training.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Reset the state."""
        self.request: SceneRequest | None = None
        self.result: Trained | None = None
        self.interrupted: Training | None = None
        self.losses = LossCurve()

    @property
    def running(self) -> bool:
        """Whether a training is running."""
        return self.request is not None and not self.request.ended

    def trains(self, fingerprint: str) -> bool:
        """Whether a training of this cloud is running."""
        message = self.request.message if self.request is not None and self.running else None
        return isinstance(message, Train) and message.scene == fingerprint

    def begin(self, request: SceneRequest) -> None:
        """Record a new training and forget the previous result."""
        self.request, self.result, self.interrupted = request, None, None
        self.losses.clear()

    def succeed(self, answer: Trained) -> None:
        """Record the result of the training."""
        self.result = answer

    def interrupt(self, training: Training) -> None:
        """Record a training that was interrupted and can be resumed."""
        self.interrupted = training

    def poll(self) -> None:
        """Record the newest loss."""
        if self.request is not None and self.running:
            self.losses.look(self.request.job)


trainings = Trainings()
