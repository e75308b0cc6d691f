"""Run a program, and end it with all its children when standard input is closed.

The parent process holds the other end, which closes when the parent ends for any reason. A killed Blender thus leaves
no installer behind. Run by its path; standard library only, valid Python 3.9 (see environment.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
"""Exit code if the program cannot start."""


def main() -> int:
    """Run the program in the command line. Returns its exit code, 128 or more for a signal."""
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=sys.platform != "win32")
    except OSError as error:
        print(f"{sys.argv[1]} could not be started: {error}")
        return NOT_STARTED
    threading.Thread(target=_watch, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch(child: subprocess.Popen[bytes]) -> None:
    while os.read(0, 4096):
        pass
    with contextlib.suppress(OSError):
        if sys.platform != "win32":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the watching thread may be blocked in a read
