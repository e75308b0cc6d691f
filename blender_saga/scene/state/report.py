"""The support report, without the user's names, folders and keys."""

from __future__ import annotations

import contextlib
import getpass
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy

from ...client.support.log_files import tail
from ...client.support.report import Redactor, Section, compose, packages
from ...wire.messages import PROTOCOL_VERSION
from .downloads import downloads
from .launch import backend_folder, environment, log_path, own_python, preferences
from .link import link
from .log import journal, private_in_file, texts_of
from .paths import ADDON_DIR, extension_version
from .status import status

_LOG_LINES = 60
_PACKAGES = ("torch", "torchvision", "numba", "gsplat", "numpy")
_SMI_SECONDS = 5.0


def report_text() -> str:
    """The report as text, with a section for each of versions, device, environment, backend, errors and logs."""
    sections = [
        Section("Versions", _versions()),
        Section("Device", _device()),
        Section("Environment", _environment()),
        Section("Backend", _backend()),
        Section("Last errors", list(journal.errors)),
        Section("Log of the extension", tail(journal.path, _LOG_LINES) if journal.path else []),
        Section("Log of the backend", tail(log_path(), _LOG_LINES)),
    ]
    return compose(sections, _redactor())


def _redactor() -> Redactor:
    chosen = set(texts_of(preferences()))
    private = journal.private | private_in_file() | chosen | {bpy.path.abspath(path) for path in chosen if path}
    people = []
    with contextlib.suppress(OSError, KeyError):
        people = [getpass.getuser()]
    people += [Path.home().name, socket.gethostname(), platform.node()]
    known = [ADDON_DIR, Path(sys.prefix), Path(sys.base_prefix), Path(bpy.utils.resource_path("LOCAL"))]
    known += [Path(bpy.utils.resource_path("USER")), Path("/usr/lib"), Path("/usr/bin")]
    if not preferences().backend_folder:
        known.append(backend_folder())
    return Redactor(private - _harmless(), Path.home(), people, known)


def _harmless() -> set[str]:
    """Values that reveal nothing, so that hiding them would only make the report harder to read."""
    return {"", tempfile.gettempdir(), "/"}


def _versions() -> list[str]:
    build = bpy.app.build_hash.decode(errors="replace")
    return [
        f"Blender {bpy.app.version_string} ({build}), Python {platform.python_version()}",
        f"Extension {extension_version()}, protocol {PROTOCOL_VERSION}",
        f"{platform.system()} {platform.release()}, {platform.machine()}",
    ]


def _device() -> list[str]:
    welcome = link.welcome
    lines = [f"The backend runs on: {welcome.note}", welcome.obstacle] if welcome else []
    return [*filter(None, lines), f"Driver: {_driver()}", *_graphics()]


def _driver() -> str:
    """The GPUs that nvidia-smi lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "nvidia-smi is not installed"
    command = [program, "--query-gpu=name,driver_version,memory.used,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi does not answer ({type(error).__name__})"
    return done.stdout.strip().replace("\n", "; ") or f"nvidia-smi prints nothing (code {done.returncode})"


def _graphics() -> Iterator[str]:
    """The GPU that draws the window; nothing in background mode."""
    if not bpy.app.background:
        import gpu

        yield f"Window: {gpu.platform.renderer_get()}, {gpu.platform.version_get()}"


def _environment() -> list[str]:
    installed = environment()
    folder = installed.current.folder
    lines = [f"Own Python: {'set' if own_python() else 'not set'}; environment: {installed.state.value}"]
    with contextlib.suppress(OSError):
        python = (folder / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
        lines += [line for line in python.splitlines() if line.startswith("version")]
        lines.append(", ".join(packages(folder, _PACKAGES)))
    with contextlib.suppress(OSError):
        lines.append(f"Free space in the backend folder: {shutil.disk_usage(backend_folder()).free / 1e9:.1f} GB")
    job = downloads.installation
    if job is not None:
        state = (
            "runs" if job.running else "was cancelled" if job.cancelled else "has failed" if job.error else "has ended"
        )
        lines.append(f"The installation {state}: {job.text}, {job.fraction:.0%}. {job.problem}".rstrip())
    return lines


def _backend() -> list[str]:
    backend = link.backend
    if backend is None:
        return ["The backend was not started"]
    lines = [f"State: {backend.state.value}, started {backend.starts} times", backend.error]
    if link.memory.state is not None:
        memory = link.memory.state
        lines.append(f"Memory: {memory.memory} MB used, {memory.available} MB free on the machine")
        if memory.device_total:
            lines.append(f"{memory.device}: {memory.device_memory} of {memory.device_total} MB used")
    lines += [f"Running: {job.kind}" for job in backend.jobs]
    return [*filter(None, lines), *([f"Message in the panel: {status.message}"] if status.message else [])]
