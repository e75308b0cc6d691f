"""Progress from uv's output during the installation (standard library only, valid Python 3.9)."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

Report = Callable[[str, float], None]
"""Called with a description and the progress, 0 to 1."""

_DOWNLOADING = re.compile(r"Downloading (\S+) \(([\d.]+)([KMG])iB\)")
_DOWNLOADED = re.compile(r"Downloaded (\S+)")
_PREPARED = re.compile(r"Prepared (\d+) packages?")
_BYTES = {"K": 2**10, "M": 2**20, "G": 2**30}
_START, _END = 0.05, 0.90  # share of the downloads


class SyncProgress:
    """Follows `uv pip sync`: names and sizes come from its output, the progress between lines from the disk.

    uv prints the start of each large file, with its size, and its end, but nothing in between (it draws bars only in a
    terminal), so that a large file would look like a stall.
    """

    def __init__(self, report: Report, folder: Path) -> None:
        self._report, self._folder = report, folder
        self._sizes: dict[str, float] = {}
        self._done: set[str] = set()
        self._reached = _START
        self._began = time.monotonic()
        self._free = shutil.disk_usage(folder).free

    def line(self, text: str) -> None:
        """Process a line of uv's output, or "" for a moment without output."""
        announced, ended = _DOWNLOADING.search(text), _DOWNLOADED.search(text)
        if announced:
            self._sizes[announced.group(1)] = float(announced.group(2)) * _BYTES[announced.group(3)]
        elif ended:
            self._done.add(ended.group(1))
        elif text.lstrip().startswith("Building "):
            self._report(text.strip(), self._reached)
            return
        prepared = _PREPARED.search(text)
        if prepared:
            self._report(f"Installing {prepared.group(1)} packages", _END)
        elif self._sizes.keys() - self._done:
            self._report(self._downloading(), self._fraction())

    def _downloading(self) -> str:
        waiting = sorted(self._sizes.keys() - self._done, key=lambda name: -self._sizes[name])
        more = f" and {len(waiting) - 2} more" if len(waiting) > 2 else ""
        written = max(0, self._free - shutil.disk_usage(self._folder).free)
        speed = written / max(time.monotonic() - self._began, 0.1)
        return f"Downloading: {', '.join(waiting[:2])}{more}; {written / 1e9:.1f} GB on disk, {speed / 1e6:.0f} MB/s"

    def _fraction(self) -> float:
        total = sum(self._sizes.values())
        done = sum(self._sizes[name] for name in self._done & self._sizes.keys())
        # New files increase the total; the bar must not move backwards.
        self._reached = max(self._reached, _START + (_END - _START) * done / total)
        return self._reached
