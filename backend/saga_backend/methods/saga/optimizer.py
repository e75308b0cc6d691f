"""Adam (Kingma & Ba 2015) on rows: untouched rows keep their moments and parameters, as in torch.optim.SparseAdam."""

from __future__ import annotations

import numba
import numpy as np

from ..checkpoint import State

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-15


class RowAdam:
    """Adam for an array [N,D] float32 with sparse updates: a step only touches some rows.

    Args:
        values: the parameters, changed in place.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.gradient = np.zeros_like(values)
        self._first = np.zeros_like(values)
        self._second = np.zeros_like(values)
        self._step = 0

    def step(self, rows: np.ndarray, rate: float) -> None:
        """Apply `gradient` to the rows [T] int32 and reset it to zero there."""
        self._step += 1
        bias = np.sqrt(1 - BETA2**self._step) / (1 - BETA1**self._step)
        rate_now = np.float32(rate * bias)
        _update(self.values, self.gradient, self._first, self._second, rows, rate_now)

    def state(self) -> State:
        """Values, moments and steps, for `resume`."""
        return {"values": self.values, "first": self._first, "second": self._second, "steps": np.array([self._step])}

    def resume(self, state: State) -> None:
        """Restore `state`, in place."""
        for mine, name in ((self.values, "values"), (self._first, "first"), (self._second, "second")):
            mine[:] = state[name]
        self._step = int(state["steps"][0])


@numba.njit(parallel=True, cache=True)
def _update(values, gradient, first, second, rows, rate):
    beta1, beta2, epsilon = np.float32(BETA1), np.float32(BETA2), np.float32(EPSILON)
    one = np.float32(1.0)
    for r in numba.prange(len(rows)):
        n = rows[r]
        for c in range(values.shape[1]):
            g = gradient[n, c]
            first[n, c] = beta1 * first[n, c] + (one - beta1) * g
            second[n, c] = beta2 * second[n, c] + (one - beta2) * g * g
            values[n, c] -= rate * first[n, c] / (np.sqrt(second[n, c]) + epsilon)
            gradient[n, c] = np.float32(0.0)
