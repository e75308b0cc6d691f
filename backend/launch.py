"""Entry point of the backend process.

Blender starts it as `python -I launch.py --addon-dir DIR` and writes a hex key as the first line of its standard input.
The process prints one line of JSON to standard output when it listens. It exits when its standard input closes, so no
process outlives Blender. The log goes to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import logging
import os
import sys
import threading
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
IN_USE = "saga_in_use.lock"
"""client/install/versions.py uses the same name."""


def main(argv: list[str] | None = None, open_session: object = None) -> int:
    """Run until standard input closes or a client requests the end.

    Args:
        argv: command line without the program name.
        open_session: see `saga_backend.serving.server.OpenSession`; None for the default. Tests pass their own.

    Returns:
        Exit code: 2 if the key or the address is invalid, or if `--warm-up` fails.
    """
    options = _parse(argv)
    faulthandler.enable()  # a crash in native code writes its stack to the log
    _occupy(Path(sys.prefix))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    make_importable(options.addon_dir)
    if options.warm_up:
        from saga_backend.serving import warm_up

        return warm_up.main()
    from blender_saga.errors import UserError
    from blender_saga.wire.channel import Listener
    from saga_backend.serving import path_policy, server

    stdin = _take_stdin()
    try:
        listener = Listener(_read_key(stdin))
    except (UserError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    confinement = path_policy.Confinement(options.root)
    running = server.Server(listener, options.device, open_session or server.open_session, confinement=confinement)
    _announce(listener.address)
    threading.Thread(target=_watch, args=(stdin, running.ended), name="stdin", daemon=True).start()
    running.ended.wait()
    return 0


def make_importable(addon_dir: Path) -> None:
    """Make `blender_saga.wire` and `.gaussians` (from addon_dir) and `saga_backend` (from here) importable.

    The package `blender_saga` is an empty substitute, because the add-on's own `__init__` needs Blender.
    """
    package = types.ModuleType("blender_saga")
    package.__path__ = [str(addon_dir)]
    sys.modules["blender_saga"] = package
    sys.path.insert(0, str(HERE))


def _occupy(environment: Path) -> None:
    """Lock this environment, so that an upgrade does not remove it while this process runs.

    On Windows, the open files have the same effect.
    """
    if os.name == "posix" and sys.prefix != sys.base_prefix:  # the add-on never removes the user's own Python
        import fcntl

        with contextlib.suppress(OSError):  # a read-only environment cannot be removed either
            lock = os.open(environment / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_SH)  # until this process ends


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The backend of Blender SAGA. Blender starts it; see its preferences.")
    parser.add_argument("--addon-dir", type=Path, default=_default_addon_dir(), help="folder that holds wire/")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute")
    parser.add_argument("--root", type=Path, metavar="DIR", help="clients may only name files inside this folder")
    parser.add_argument(
        "--warm-up", action="store_true", help="compile all numba functions into NUMBA_CACHE_DIR, then exit"
    )
    return parser.parse_args(argv)


def _default_addon_dir() -> Path:
    """The add-on's folder: next to this one in the repository, its parent in the installed extension."""
    repository = HERE.parent / "blender_saga"
    return repository if (repository / "wire").is_dir() else HERE.parent


def _take_stdin() -> int:
    """A private copy of standard input: on Windows, importing numpy hangs while a thread reads handle 0."""
    private = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return private


def _read_key(stdin: int) -> bytes:
    """The first line of standard input, at most 1,000 bytes of hex digits."""
    line = b""
    while not line.endswith(b"\n") and len(line) < 1000 and (byte := os.read(stdin, 1)):
        line += byte
    try:
        key = bytes.fromhex(line.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) < 16 or not line.endswith(b"\n"):
        raise ValueError("The first line of standard input must be the key: at least 16 bytes as hex digits.")
    return key


def _announce(address: tuple[str, int]) -> None:
    """Print the address and redirect all later output to the log, including that of a client that connects at once."""
    from blender_saga.wire.messages import PROTOCOL_VERSION

    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as parent:
        os.dup2(2, 1)
        sys.stdout.reconfigure(line_buffering=True)
        print(json.dumps({"address": address, "protocol": PROTOCOL_VERSION}), file=parent)


def _watch(stdin: int, ended: threading.Event) -> None:
    """Wait for the end of standard input."""
    while os.read(stdin, 4096):
        pass
    ended.set()


def run(open_session: object = None) -> None:
    """`main` as a process. It exits at once, even if a worker thread still computes; files are replaced atomically."""
    code = main(open_session=open_session)
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    run()
