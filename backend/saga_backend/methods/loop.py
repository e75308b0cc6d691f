"""The training loop of all methods: steps, progress, snapshots, checkpoints, and a stop on NaN losses."""

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
    """A training method: its step, its model and its state."""

    def step(self, index: int) -> float:
        """Take an optimizer step; returns the loss, which is not finite for a skipped step."""
        ...

    def model(self, steps: int) -> Model:
        """The model after `steps` steps."""
        ...

    def state(self) -> State:
        """All state that steps change, including random generators; the next step may change the arrays in place."""
        ...

    def resume(self, state: State) -> None:
        """Restore a state with the same shapes. Raises ValueError for an invalid state, without any change."""
        ...


@dataclass(frozen=True, eq=False)
class Watchers(Generic[Model]):
    """Observers of a training.

    Attributes:
        control: progress and cancellation.
        publish: receives snapshots for queries during training; None: no snapshots.
        checkpoint: stores the state and provides the state to resume from.
    """

    control: Control
    publish: Callable[[Model], None] | None = None
    checkpoint: Checkpoint = field(default_factory=Checkpoint)


def run(trainer: Trainer[Model], steps: int, due: range, watchers: Watchers) -> Model:
    """Train; a resumed training gives the same result as an uninterrupted one.

    Args:
        trainer: trainer of a method.
        steps: number of optimizer steps.
        due: steps after which a snapshot is published.
        watchers: progress, snapshots and checkpoints.

    Raises:
        UserError: if the features become NaN.
        Cancelled: if the control was cancelled.
    """
    control, publish, checkpoint = watchers.control, watchers.publish, watchers.checkpoint
    first, watch = _resume(trainer, steps, checkpoint), _NaNWatch()
    if publish and due.start < first < steps:
        publish(trainer.model(first))
    for index in range(first, steps):
        control.progress("training", index, steps)
        control.loss = trainer.step(index)
        watch.check(control.loss, index)
        if publish and index in due and index + 1 < steps:
            publish(trainer.model(index + 1))
        if checkpoint.due():
            checkpoint.save("features", trainer.state() | {"steps": np.array([index + 1, steps])})
    return trainer.model(steps)


def _resume(trainer: Trainer, steps: int, checkpoint: Checkpoint) -> int:
    """Restore the trainer from the checkpoint; returns the number of completed steps."""
    state = checkpoint.load("features")
    if state is None:
        return 0
    own = trainer.state() | {"steps": np.array([0, steps])}
    if not fits(state, own) or not 0 < int(state["steps"][0]) <= steps:
        log.warning("The checkpoint does not fit the training, which starts over")
        return 0
    try:
        trainer.resume(state)
    except ValueError as error:
        log.warning("The checkpoint cannot be used (%s); the training starts over", error)
        return 0
    done = int(state["steps"][0])
    checkpoint.notes.append(f"It was interrupted and went on from step {done:,} of {steps:,}")
    return done


class _NaNWatch:
    """Stops a training whose loss is not finite for many consecutive steps; the steppers skip such steps."""

    def __init__(self, limit: int = 10) -> None:
        self._limit, self._count = limit, 0

    def check(self, loss: float, index: int) -> None:
        self._count = 0 if np.isfinite(loss) else self._count + 1
        if self._count > self._limit:
            why = f"the loss was not finite for {self._count} steps up to step {index + 1}"
            raise UserError(
                "Training was stopped", why, "Train again with another seed or other masks", ErrorCode.DIVERGED
            )
