"""Runs a program and ends it, with all that it started, when standard input is closed.

Whoever started this holds the other end: it is closed when that ends, however it ends. So a Blender that was killed
leaves no installer at work. Run by its path, standard library only, valid Python 3.9 (see environment.py).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

NOT_STARTED = 127
"""Exit code when the program cannot be started."""


def main() -> int:
    """The program and its arguments are the command line; returns its exit code, 128 and more for a signal."""
    own_group = os.name == "posix"
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=own_group)
    except OSError as error:
        print(f"{sys.argv[1]} could not be started: {error}")
        return NOT_STARTED
    threading.Thread(target=_watch, args=(child, own_group), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _watch(child: subprocess.Popen[bytes], own_group: bool) -> None:
    while os.read(0, 4096):
        pass
    with contextlib.suppress(OSError):
        if own_group:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the watching thread may sit in a read
