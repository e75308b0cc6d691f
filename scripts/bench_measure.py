"""Measurement for the benchmarks: medians of many runs, peak memory, one JSON line for each row."""

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
    """A case to measure: `n` Gaussians on a device ("cpu" or "cuda"); `quick`: few runs and small scenes."""

    n: int
    device: str = "cpu"
    quick: bool = False

    def runs(self, count: int) -> int:
        """The number of runs: `count`, or 3 for a quick case."""
        return 3 if self.quick else count


@dataclass(frozen=True)
class Times:
    """Times of several runs, milliseconds: median, 90 % quantile, fastest run; `cpu_ms`: median CPU time of all cores.

    Other programs on the machine disturb the quantile most and the fastest run least.
    """

    median_ms: float
    p90_ms: float
    best_ms: float
    cpu_ms: float | None = None


def times(function: Callable[[], object], runs: int) -> Times:
    """Time a function. A first run is not counted, because it compiles code and fills caches."""
    function()
    gc.collect()
    seconds, cpu = [], []
    for _ in range(runs):
        start, cpu_start = time.perf_counter(), time.process_time()
        function()
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    median, p90 = np.quantile(seconds, [0.5, 0.9])
    return Times(*(round(1e3 * float(value), 3) for value in (median, p90, min(seconds), np.median(cpu))))


def once(function: Callable[[], object]) -> Times:
    """Time the first and only call of a function."""
    start, cpu_start = time.perf_counter(), time.process_time()
    function()
    elapsed, cpu = 1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - cpu_start)
    return Times(*(3 * (round(elapsed, 3),)), round(cpu, 3))


@dataclass
class Line:
    """One row of the output.

    Attributes:
        bench: name of the benchmark.
        case: the measured case.
        ours, reference: times of our code and of the reference.
        what: name of a part of the benchmark, or "".
        reference_is: description of the reference.
        more: further numbers; floor_ms is a lower limit, such as the time of the memory traffic.
        peak: peak memory of the process when the line is made, MB. Make the line before the reference runs.
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
        """The line as JSON values."""
        reference_ms = self.reference.median_ms if self.reference else None
        ratio = round(reference_ms / self.ours.median_ms, 2) if reference_ms and self.ours.median_ms else None
        return {
            "bench": self.bench, "what": self.what, "device": self.case.device, "n": self.case.n,
            **asdict(self.ours),
            "peak_mb": self.peak, "reference": self.reference_is, "reference_ms": reference_ms, "ratio": ratio,
            **self.more, "load": load(),
        }  # fmt: skip


def load() -> float | None:
    """Load average of the last minute; above about 1, other programs disturb the times."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def gigabytes_per_second() -> float:
    """The memory bandwidth of all cores together. It limits everything that reads all features."""
    import torch

    values = torch.zeros(64_000_000)
    fastest = times(lambda: values.max(), 7).best_ms
    return values.numel() * 4 / fastest / 1e6
