"""The loop in which every method trains: steps, progress, snapshots, and an end where the loss is no number."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from blender_saga.errors import ErrorCode, UserError

from ..common.progress import Control
from .checkpoint import Checkpoint, State, fits

log = logging.getLogger(__name__)

Model = TypeVar("Model", covariant=True)


class Trainer(Protocol[Model]):
    """What a method brings: its step and the model it has come to."""

    def step(self, index: int) -> float:
        """One optimizer step; returns the loss, not finite where nothing was learned."""
        ...

    def model(self, steps: int) -> Model:
        """The model after so many steps."""
        ...

    def state(self) -> State:
        """All that the steps change, random generators too; arrays may go on changing with the next step."""
        ...

    def resume(self, state: State) -> None:
        """Take over a state that has the shapes of its own. Raises ValueError if it is none; nothing is changed."""
        ...


@dataclass(frozen=True, eq=False)
class Watchers(Generic[Model]):
    """Who looks on while features are trained.

    Attributes:
        control: progress and cancel.
        publish: gets the snapshots, for queries while training runs; None: nobody.
        checkpoint: keeps the state, and has the one to go on from.
    """

    control: Control
    publish: Callable[[Model], None] | None = None
    checkpoint: Checkpoint = field(default_factory=Checkpoint)


def run(trainer: Trainer[Model], steps: int, due: range, watchers: Watchers) -> Model:
    """Train; a training that was interrupted goes on as if it had not been.

    Args:
        trainer: of a method.
        steps: optimizer steps.
        due: steps after which a snapshot is published.
        watchers: progress, snapshots, checkpoints.

    Raises:
        UserError: if the features stop being numbers.
        Cancelled: if the control was cancelled.
    """
    control, publish, checkpoint = watchers.control, watchers.publish, watchers.checkpoint
    first, watch = _resumed(trainer, steps, checkpoint), _NaNWatch()
    if publish and due.start < first < steps:
        publish(trainer.model(first))
    for index in range(first, steps):
        control.progress("training", index, steps)
        control.loss = trainer.step(index)
        watch.look(control.loss, index)
        if publish and index in due and index + 1 < steps:
            publish(trainer.model(index + 1))
        if checkpoint.due():
            checkpoint.save("features", trainer.state() | {"steps": np.array([index + 1, steps])})
    return trainer.model(steps)


def _resumed(trainer: Trainer, steps: int, checkpoint: Checkpoint) -> int:
    """Have the trainer go on from the checkpoint; returns how many steps it has done."""
    state = checkpoint.load("features")
    if state is None:
        return 0
    own = trainer.state() | {"steps": np.array([0, steps])}
    if not fits(state, own) or not 0 < int(state["steps"][0]) <= steps:
        log.warning("The checkpoint does not fit its training, which begins anew")
        return 0
    try:
        trainer.resume(state)
    except ValueError as error:
        log.warning("The checkpoint cannot be used (%s), training begins anew", error)
        return 0
    done = int(state["steps"][0])
    checkpoint.notes.append(f"It was interrupted and went on from step {done:,} of {steps:,}")
    return done


class _NaNWatch:
    """Ends a training whose loss is no number for many steps on end; the steppers leave such steps out."""

    def __init__(self, most: int = 10) -> None:
        self._most, self._count = most, 0

    def look(self, loss: float, index: int) -> None:
        self._count = 0 if np.isfinite(loss) else self._count + 1
        if self._count > self._most:
            why = f"the loss was no number for {self._count} steps up to step {index + 1}"
            raise UserError(
                "Training was stopped", why, "Train again with another seed or other masks", ErrorCode.DIVERGED
            )
