"""Of what random tests draw: each commit its own cases, and the same ones wherever it is tested."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path

SEED_VARIABLE = "BLENDER_SAGA_TEST_SEED"


def seed_of_commit() -> int:
    """A number that the commit gives, or the variable, or chance where there is no commit.

    Raises:
        ValueError: if the variable is no whole number from 0.
    """
    if (given := os.environ.get(SEED_VARIABLE)) is not None:
        if not (given.isascii() and given.isdecimal()):
            raise ValueError(f"{SEED_VARIABLE} is {given!r}. Give a whole number, or leave it out")
        return int(given)
    try:
        command = ("git", "rev-parse", "--short=7", "HEAD")
        said = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return int(said.stdout, 16)
    except (OSError, subprocess.CalledProcessError):
        return secrets.randbits(28)
