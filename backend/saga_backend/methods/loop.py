"""The loop in which every method trains: steps, progress, snapshots, and an end where the loss is no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from blender_saga.wire.errors import UserError

from ..control import Control

Model = TypeVar("Model", covariant=True)


class Trainer(Protocol[Model]):
    """What a method brings: its step and the model it has come to."""

    def step(self, index: int) -> float:
        """One optimiser step; returns the loss, not finite where nothing was learned."""
        ...

    def model(self, steps: int) -> Model:
        """The model after so many steps."""
        ...


def run(
    trainer: Trainer[Model], steps: int, due: range, control: Control, publish: Callable[[Model], None] | None
) -> Model:
    """Train.

    Args:
        trainer: of a method.
        steps: optimiser steps.
        due: steps after which a snapshot is published.
        control: progress and cancel.
        publish: gets the snapshots, for queries while training runs; None: nobody.

    Raises:
        UserError: if the features stop being numbers.
        Cancelled: if the control was cancelled.
    """
    watch = _NaNWatch()
    for index in range(steps):
        control.progress("training", index, steps)
        control.loss = trainer.step(index)
        watch.look(control.loss, index)
        if publish and index in due and index + 1 < steps:
            publish(trainer.model(index + 1))
    return trainer.model(steps)


class _NaNWatch:
    """Ends a training whose loss is no number for many steps on end; the steppers leave such steps out."""

    def __init__(self, most: int = 10) -> None:
        self._most, self._count = most, 0

    def look(self, loss: float, index: int) -> None:
        self._count = 0 if np.isfinite(loss) else self._count + 1
        if self._count > self._most:
            why = f"the loss was no number for {self._count} steps up to step {index + 1}"
            raise UserError("Training was stopped", why, "Train again with another seed or other masks", "diverged")
