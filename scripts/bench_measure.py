"""How the benchmarks measure: medians of many runs, peak memory, one JSON line a row."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np

from saga_backend.cli.evaluate import peak_mb


@dataclass(frozen=True)
class Case:
    """What to measure: `n` Gaussians on a device ("cpu" or "cuda"); `quick`: few repeats, small companions."""

    n: int
    device: str = "cpu"
    quick: bool = False

    def runs(self, wanted: int) -> int:
        """Repeats: as many as wanted, or 3."""
        return 3 if self.quick else wanted


@dataclass(frozen=True)
class Times:
    """Milliseconds: median and 90 % quantile of the runs, and the fastest one; `cpu_ms`: work of all cores together in
    the median run. Other programs on the machine disturb the first most and the last least.
    """

    median_ms: float
    p90_ms: float
    best_ms: float
    cpu_ms: float | None = None


def times(function: Callable[[], object], runs: int) -> Times:
    """Time a function, after one run that does not count (it compiles and fills caches)."""
    function()
    gc.collect()
    seconds, work = [], []
    for _ in range(runs):
        began, worked = time.perf_counter(), time.process_time()
        function()
        seconds.append(time.perf_counter() - began)
        work.append(time.process_time() - worked)
    median, late = np.quantile(seconds, [0.5, 0.9])
    return Times(*(round(1e3 * float(value), 3) for value in (median, late, min(seconds), np.median(work))))


def once(function: Callable[[], object]) -> Times:
    """Time the first and only call of a function."""
    began, worked = time.perf_counter(), time.process_time()
    function()
    spent, work = (1e3 * (now - then) for now, then in ((time.perf_counter(), began), (time.process_time(), worked)))
    return Times(*(3 * (round(spent, 3),)), round(work, 3))


@dataclass
class Line:
    """One row of the output.

    Attributes:
        bench: name; what: which part of it, or "".
        case: what was measured.
        ours, reference: times; `reference_is` says what the reference does.
        more: anything else worth a number; floor_ms: the least that the memory traffic or the like would cost.
        peak: MB of the process so far, taken when the line is made: make it before the reference runs.
    """

    bench: str
    case: Case
    ours: Times
    what: str = ""
    reference: Times | None = None
    reference_is: str = ""
    more: dict[str, object] = field(default_factory=dict)
    peak: float | None = field(default_factory=peak_mb)

    def to_dict(self) -> dict[str, object]:
        """What the JSON holds."""
        reference_ms = self.reference.median_ms if self.reference else None
        ratio = round(reference_ms / self.ours.median_ms, 2) if reference_ms and self.ours.median_ms else None
        return {
            "bench": self.bench, "what": self.what, "device": self.case.device, "n": self.case.n,
            **asdict(self.ours),
            "peak_mb": self.peak, "reference": self.reference_is, "reference_ms": reference_ms, "ratio": ratio,
            **self.more, "load": load(),
        }  # fmt: skip


def load() -> float | None:
    """Programs that wanted a core in the last minute; above 1 or so, others disturb the times."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def gigabytes_per_second() -> float:
    """How fast all cores together read memory: the floor under everything that reads all features."""
    import torch

    values = torch.zeros(64_000_000)
    fastest = times(lambda: values.max(), 7).best_ms
    return values.numel() * 4 / fastest / 1e6
