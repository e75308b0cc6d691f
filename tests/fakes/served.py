"""`python -m saga_backend serve`, started as a person does it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

SECONDS = 300
"""Limit of a test that hangs: everything may have to be compiled first."""


class Served:
    """The command, started; `address` and `key` are what it has printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        paths = os.pathsep.join([str(ROOT / "backend"), str(ROOT)])
        environ = {**os.environ, "PYTHONPATH": paths, "XDG_CONFIG_HOME": str(folder / "config")}
        environ |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "saga_backend", "serve", "--device", "cpu", *options]
        self.log = folder / "serve.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )
        self.text = self._directions()
        self.address = re.search(r"Address: (\S+)", self.text)[1]
        self.key = (folder / "config" / "blender_saga" / "serve.key").read_text()

    def _directions(self) -> str:
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Ctrl+C"):
            line = self.process.stdout.readline().decode()
            assert line, f"it has ended: {self.log.read_text()}"
            lines.append(line)
        return "".join(lines)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send it a signal; returns its exit code and its last words."""
        self.process.send_signal(number)
        said = self.process.communicate(timeout=SECONDS)[0]
        return self.process.returncode, said.decode()
