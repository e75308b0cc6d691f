"""Find a working Python 3.13 (standard library only, valid Python 3.9: see environment.py)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .commands import CommandFailed, run

VERSION = "3.13"
"""The Python version of the lock files, independent of Blender's Python."""

_TELL = "import sys; print(sys.version_info[:2] == (3, 13), getattr(sys, '_base_executable', sys.executable))"


def find_python() -> Path | None:
    """A Python 3.13 on this machine, outside virtual environments; None if there is none.

    The search covers the current Python, `python3.13` on the PATH (tested, because pyenv's may only print an error),
    the usual folder on Windows, and pyenv's versions. The installer then tries uv.
    """
    for candidate in any_pythons():
        base = _base_if_wanted(candidate)
        if base is not None:
            return base
    return None


def is_usable(python: Path) -> bool:
    """Whether an interpreter works and is Python 3.13."""
    return python.exists() and _base_if_wanted(python) is not None


def any_pythons() -> Iterator[Path]:
    """Interpreters of any version, possibly broken, the most likely first."""
    if "bpy" not in sys.modules:  # Blender's Python disappears with an upgrade of Blender
        yield Path(sys.executable)
    ending = ".exe" if sys.platform == "win32" else ""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    yield from _existing(folder / f"python{VERSION}{ending}" for folder in folders)
    if sys.platform == "win32":
        yield from _existing([Path(os.environ.get("LOCALAPPDATA", ""), "Programs/Python/Python313/python.exe")])
    yield from _existing(_pyenv())
    yield from _existing(folder / f"{name}{ending}" for folder in folders for name in ("python3", "python"))
    if "bpy" in sys.modules:  # sufficient to run pip
        yield Path(sys.executable)


def _existing(paths: Iterator[Path] | list[Path]) -> Iterator[Path]:
    return (path for path in paths if path.is_file())


def _pyenv() -> Iterator[Path]:
    """pyenv's Pythons of the required version, the newest first."""
    homes = [os.environ.get("PYENV_ROOT"), Path.home() / ".pyenv", Path.home() / ".pyenv" / "pyenv-win"]
    folders = [Path(home, "versions") for home in homes if home]
    for folder in [*folders, Path(sys.base_prefix).parent]:
        # "3.13.*[0-9]" excludes the free-threaded build, which ends in "t".
        versions = folder.glob(f"{VERSION}.*[0-9]")
        for version in sorted(versions, key=lambda path: (len(path.name), path.name), reverse=True):
            yield version / ("python.exe" if sys.platform == "win32" else f"bin/python{VERSION}")


def _base_if_wanted(python: Path) -> Path | None:
    with contextlib.suppress(CommandFailed):
        wanted, _, base = run([str(python), "-I", "-c", _TELL]).strip().partition(" ")
        if wanted == "True":
            return Path(base)
    return None
