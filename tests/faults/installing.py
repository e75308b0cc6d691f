"""The Install button's work in a process of its own, so that it can be killed. No Blender.

Arguments: the folder, the lock, the stand-in for launch.py; then what is to happen: "kill" or "cancel" with the
beginning of a report at which to do it, "free" with the bytes that have to be free.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from blender_saga.client.connection.process import Launch
from blender_saga.client.install import environment
from blender_saga.client.install.installation import prepare
from blender_saga.client.install.versions import Environments
from blender_saga.errors import Cancelled, UserError


def main() -> int:
    """Install, telling every report; 0 if it ended well, 2 for a UserError, 3 if it was cancelled."""
    folder, lock, launch = (Path(argument) for argument in sys.argv[1:4])
    wishes = dict(zip(sys.argv[4::2], sys.argv[5::2], strict=True))
    environment.MINIMUM_FREE_BYTES = int(wishes.get("free", 0))
    stop: list[bool] = []

    def report(text: str, fraction: float) -> None:
        print(f"{fraction:.3f} {text}", flush=True)
        if text.startswith(wishes.get("kill", "never")):
            os.kill(os.getpid(), signal.SIGKILL)
        if text.startswith(wishes.get("cancel", "never")):
            stop.append(True)

    def trial(python: Path):
        return prepare(
            Launch(python, launch, launch.parent, launch.parent / "log", cache_dir=launch.parent / "compiled")
        )

    try:
        Environments(folder, lock).install(report, lambda: bool(stop), trial)
    except UserError as error:
        print(f"error {error.code} {error}", flush=True)
        return 2
    except Cancelled:
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
