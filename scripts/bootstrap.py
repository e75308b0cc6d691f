"""Make the environment in .venv: Python 3.13, every locked package, this project. Standard library only.

Usage: `python3 scripts/bootstrap.py`, any Python from 3.9 on. Can be run again at any time; a ready environment is
left alone. `test.py` and `demo.py` call `ensure()` and need no bootstrap by hand.
"""

import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - says so in one sentence; this file has to parse on those that are older
    sys.exit("This needs Python 3.9 or newer to start; this is Python " + sys.version.split()[0] + ".")

import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from blender_saga.client.install.commands import child_environ  # noqa: E402
from blender_saga.client.install.environment import Environment, EnvironmentState  # noqa: E402
from blender_saga.errors import UserError  # noqa: E402

LOCK = ROOT / "backend" / "requirements" / "dev.txt"
SAY_EVERY = 5.0  # seconds between two lines about the same thing


class Narrator:
    """Prints what the installer does, with the time since the start, without flooding a log."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._topic, self._said = "", 0.0

    def __call__(self, text: str, fraction: float) -> None:
        """Print a new topic at once, news of the same topic now and then."""
        topic, now = text.partition(":")[0], time.monotonic()
        if topic != self._topic or now - self._said >= SAY_EVERY:
            print(f"[{now - self._began:5.1f} s, {fraction:4.0%}] {text}", flush=True)
            self._topic, self._said = topic, now


def environment() -> Environment:
    """The environment of this checkout."""
    return Environment(ROOT / ".venv", LOCK)


def install() -> None:
    """Bring the environment to ready, telling about it. Ends the program with one sentence if that fails."""
    env = environment()
    if env.state is EnvironmentState.ready:
        return
    print(f"The environment in {env.folder} is {env.state.value}: installing it (once, a few minutes).", flush=True)
    try:
        env.install(LOCK, Narrator(), lambda: False, project=ROOT)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("Stopped. What was downloaded is kept; run it again to go on.")


def ensure() -> None:
    """Return only inside the ready environment: makes it if need be, then runs the calling script again in it."""
    env = environment()
    inside = Path(sys.prefix).resolve() == env.folder.resolve()
    if inside and env.state is EnvironmentState.ready:
        return
    install()
    command = [str(env.python), *sys.argv]
    if sys.platform == "win32":  # there, exec would return to the prompt at once
        sys.exit(subprocess.run(command, env=child_environ(), check=False).returncode)
    os.execve(command[0], command, child_environ())  # noqa: S606 - this very command in the environment it made


def main() -> int:
    """Command line; returns the exit code."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    began = time.monotonic()
    install()
    print(f"The environment is ready: {environment().python} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
