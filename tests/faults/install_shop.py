"""A backend folder, an index of stub wheels, and installers as processes of their own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from blender_saga.client.install.versions import Environments
from tests.faults.stub_index import LAUNCH, ROOT, UV_VERSION, StubIndex, publish

SOON = 600.0
"""Seconds in which something that is not waiting for a fault has to end."""


class Shop:
    """A backend folder, an index, and installers as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.index, self.folder = StubIndex(), folder / "backend"
        self.folder.mkdir(parents=True)
        self.lock, self.launch = folder / "lock.txt", folder / "launch.py"
        self.launch.write_text(LAUNCH)
        self.publish("1.0")
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_", "PYTHON"))}
        self.environ |= {"UV_DEFAULT_INDEX": self.index.url, "PIP_INDEX_URL": self.index.url, "UV_HTTP_RETRIES": "1"}
        self.environ |= {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "NO_PROXY": "127.0.0.1"}
        self.environ |= {"PYTHONPATH": str(ROOT), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.running: list[subprocess.Popen[str]] = []

    @property
    def installed(self) -> Environments:
        return Environments(self.folder / "environment", self.lock)

    def publish(self, torch: str) -> None:
        """Have this version wanted from now on."""
        self.lock.write_text(publish(self.index, torch))
        self.lock.with_name("uv.txt").write_text(self.index.pin("uv", UV_VERSION))

    def fault(self, text: str) -> None:
        """What the trial ends with, "" for well."""
        self.launch.with_name("fault.txt").write_text(text)

    def begin(self, *wishes: str) -> subprocess.Popen[str]:
        """Start an installer."""
        command = [sys.executable, "-m", "tests.faults.installing", self.folder / "environment", self.lock, self.launch]
        process = subprocess.Popen(
            [*map(str, command), *wishes], cwd=ROOT, env=self.environ, stdout=subprocess.PIPE, text=True
        )
        self.running.append(process)
        return process

    def install(self, *wishes: str) -> tuple[int, str]:
        """Run an installer to its end; its exit code and last line."""
        process = self.begin(*wishes)
        lines = process.communicate(timeout=SOON)[0].splitlines()
        return process.returncode, lines[-1] if lines else ""

    def works(self, torch: str) -> None:
        """What is in use has this torch."""
        python = self.installed.current.python
        run = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
        assert (run.returncode, run.stdout.strip()) == (0, torch), run.stderr

    def content(self) -> dict[str, str]:
        """Every file of the environment in use, but what its own use writes."""
        home = self.installed.current.folder
        files = (p for p in home.rglob("*") if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".lock")
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def environments(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if p.name.partition("-")[2].isdecimal())

    def close(self) -> None:
        self.index.close()
        for process in self.running:
            process.kill()
            process.wait()
