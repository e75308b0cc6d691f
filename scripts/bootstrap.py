"""Make the environment in .venv: Python 3.13, all locked packages, this project. It uses only the standard library.

Usage: `python3 scripts/bootstrap.py`, with Python 3.9 or newer. You can run it again at any time; it does not change a
ready environment. `test.py` and `demo.py` call `ensure()`, so they need no bootstrap by hand.
"""

import os
import sys

if sys.version_info < (3, 9):  # noqa: UP036 - older ones get this sentence, so this file has to parse there
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
SAY_EVERY = 5.0  # seconds between two lines about the same topic


class Narrator:
    """Prints the progress of the installer with the time since the start, but not too many lines."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._topic, self._last_line = "", 0.0

    def __call__(self, text: str, fraction: float) -> None:
        """Print a new topic immediately, and news of the same topic from time to time."""
        topic, now = text.partition(":")[0], time.monotonic()
        if topic != self._topic or now - self._last_line >= SAY_EVERY:
            print(f"[{now - self._start:5.1f} s, {fraction:4.0%}] {text}", flush=True)
            self._topic, self._last_line = topic, now


def environment() -> Environment:
    """The environment of this checkout."""
    return Environment(ROOT / ".venv", LOCK)


def install() -> None:
    """Install the environment and print the progress. If that fails, print one sentence and end the program."""
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
        sys.exit("Stopped. The downloads are kept; run it again to continue.")


def ensure() -> None:
    """Return only inside the ready environment: make it if necessary, and run the calling script again in it."""
    env = environment()
    inside = Path(sys.prefix).resolve() == env.folder.resolve()
    if inside and env.state is EnvironmentState.ready:
        return
    install()
    command = [str(env.python), *sys.argv]
    if sys.platform == "win32":  # exec would return to the prompt immediately
        sys.exit(subprocess.run(command, env=child_environ(), check=False).returncode)
    os.execve(command[0], command, child_environ())  # noqa: S606 - the same command in the new environment


def main() -> int:
    """Command line; returns the exit code."""
    if len(sys.argv) > 1:
        print(__doc__)
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    start = time.monotonic()
    install()
    print(f"The environment is ready: {environment().python} ({time.monotonic() - start:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
