"""Starts a real Blender in which a scenario runs, and says how it ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import blender_window
from tests.paths import DATA, ROOT

SIZE = (1600, 900)
_SECONDS = 2400  # a whole scenario may take, on a machine that does other things too
_BLENDER = ("blender", "--factory-startup", "--gpu-backend", "opengl", "--enable-event-simulate")
_BLENDER += ("-p", "0", "0", *map(str, SIZE))


def run_scenario(
    scenario: str,
    out: Path,
    zip_path: Path,
    folder: Path | None = None,
    own: bool = True,
) -> str:
    """Run `FILE.FUNCTION` in a Blender window.

    Args:
        scenario: name of a file in `folder` and of a generator function in it.
        out: folder for screenshots, logs and files; the user profile is made in it.
        zip_path: the built extension.
        folder: where the scenario's file lies; this folder if None.
        own: the backend runs in this environment; False: it has to be installed, from the registry that we use.

    Returns:
        "ok", or what went wrong.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    result = out / "result.txt"
    result.unlink(missing_ok=True)
    interpreter = Path(sys.executable).resolve().parents[1]  # the environment's links point into it
    shared = [
        ROOT,
        interpreter,
        Path(sys.prefix),
        out,
        zip_path.parent,
        *filter(None, [folder]),
        *([DATA] if DATA.is_dir() else []),
        *([] if own else _registry_files()),
    ]
    with blender_window.screen(shared, SIZE) as screen:
        driver = ROOT / "tests" / "gui" / "driver.py"
        command = [*_BLENDER, "--python", str(driver), "--", scenario, str(out), str(zip_path.resolve())]
        process = screen.start(
            command, _environ(out, folder) | ({} if own else _registry_environ(interpreter)), out / "blender.log"
        )
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    log = (out / "blender.log").read_text(errors="replace")
    words = result.read_text() if result.exists() else f"Blender ended with {process.returncode}:\n{log[-3000:]}"
    if words == "ok" and "Traceback" in log:  # nothing a user does may reach the console as a traceback
        return log
    return words


def _environ(out: Path, folder: Path | None) -> dict[str, str]:
    return {
        "HOME": str(out),
        "BLENDER_USER_RESOURCES": str(out / "profile"),
        "BLENDER_SAGA_PYTHON": sys.executable,
        "SAGA_SCENARIOS": str(folder or ""),
        "SAGA_DATA": str(DATA),
        "LP_NUM_THREADS": str(os.cpu_count() or 1),
    }


def _registry_files() -> list[Path]:
    """What the settings of the registry name: certificates."""
    files = [Path(value).resolve() for name, value in os.environ.items() if name in ("SSL_CERT_FILE", "PIP_CERT")]
    return sorted({file.parent for file in files if file.is_file()})


def _registry_environ(interpreter: Path) -> dict[str, str]:
    """No backend of its own, a Python 3.13 to be found, this machine's way to the registry."""
    names = ("SSL_CERT_FILE", "PIP_CERT", "PIP_INDEX_URL", "UV_DEFAULT_INDEX", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY")
    found = {
        name: str(Path(os.environ[name]).resolve()) if "CERT" in name else os.environ[name]
        for name in names
        if name in os.environ
    }
    path = f"{interpreter / 'bin'}:/usr/bin:/bin:/usr/sbin:/sbin"
    return {"BLENDER_SAGA_PYTHON": "", "PATH": path, **found}
