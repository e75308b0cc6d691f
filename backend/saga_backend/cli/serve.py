"""The backend as a server for Blender on other machines: `python -m saga_backend serve`.

Clients connect through an SSH tunnel to a loopback port of this machine and prove that they know a key. The traffic
after that is neither encrypted nor signed, so the server listens at other addresses only on explicit request.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import logging
import os
import platform
import secrets
import signal
import socket
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.channel import Address, Listener

from ..common.user_dirs import config_folder
from ..serving.path_policy import Confinement
from ..serving.server import Server

_KEY_BYTES = 32
_MOST_KEY_FILE = 1000
"""Maximum bytes of a key file."""


def add_serve(commands: argparse._SubParsersAction) -> None:
    """Add the command `serve`."""
    serve = commands.add_parser(
        "serve",
        help="serve Blender on other machines through SSH tunnels",
        description="Serve Blender on other machines through SSH tunnels. Prints the commands for the other machine, "
        "and runs until Ctrl+C or SIGTERM.",
    )
    serve.add_argument(
        "--listen",
        type=_host_and_port,
        default=("127.0.0.1", 0),
        metavar="HOST:PORT",
        help="end of the tunnel (default: 127.0.0.1:0, a free port)",
    )
    serve.add_argument(
        "--unprotected",
        action="store_true",
        help="allow a HOST that other machines can reach; its traffic is not encrypted",
    )
    serve.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file of the key, created if it is missing (default: in the user's settings)",
    )
    serve.add_argument("--new-key", action="store_true", help="create a new key; clients with the old key are rejected")
    serve.add_argument("--root", type=Path, metavar="DIR", help="folder that all files of clients must lie in")
    serve.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    serve.set_defaults(run=run_serve)


def run_serve(options: argparse.Namespace) -> None:
    """Serve until a signal. Does not return: computing threads would delay the end of the process.

    Raises:
        UserError: if the address, the key or the device is not usable.
    """
    check_host(options.listen[0], options.unprotected)
    key = load_key(options.key_file or config_folder() / "serve.key", options.new_key)
    listener = Listener(key.secret, options.listen)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    server = Server(listener, options.device, lasting=True, confinement=Confinement(options.root))
    stop = _stop_signals()
    print(_directions(listener.address, key, server.open().note), flush=True)
    stop.recv(1)
    server.close()
    print("Ended", flush=True)
    logging.shutdown()
    os._exit(0)  # safe: files are only replaced as a whole


def _stop_signals() -> socket.socket:
    """A socket that receives a byte on SIGINT or SIGTERM.

    An event set by a handler would not work: a signal may reach a thread of torch or numba while the main thread waits
    for a lock, and Python runs no handler there.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return receiver


def check_host(host: str, unprotected: bool) -> None:
    """Make sure that other machines cannot reach the server unless allowed.

    Raises:
        UserError: if they could.
    """
    loopback = host == "localhost"
    with contextlib.suppress(ValueError):  # a name may resolve to any address
        loopback = loopback or ipaddress.ip_address(host).is_loopback
    if not loopback and not unprotected:
        why = "other machines could reach it, and its traffic is not encrypted"
        fix = "Use 127.0.0.1 and an SSH tunnel, or add --unprotected in a network that you trust"
        raise UserError(f"The server cannot listen at {host}", why, fix, ErrorCode.ADDRESS)


@dataclass(frozen=True)
class Key:
    """The secret key of clients, the path of its file, and whether it is new."""

    secret: bytes
    path: Path
    new: bool


def load_key(path: Path, renew: bool = False) -> Key:
    """Load the key from a file that only its owner may read; creates a random key if it is missing, or with `renew`.

    Raises:
        UserError: if others may read the file, it holds no key, or it cannot be read or written.
    """
    try:
        if renew:
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Key(_create(path), path, new=True)
        return Key(_read(path), path, new=False)
    except OSError as error:
        raise UserError(
            f"The key file {path} cannot be used",
            error.strerror or str(error),
            fix="Choose a place that you may write to",
            code=ErrorCode.KEY,
        ) from error


def _create(path: Path) -> bytes:
    secret = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secret.hex()}\n")
    return secret


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        facts, content = os.fstat(file.fileno()), file.read(_MOST_KEY_FILE)
    if sys.platform != "win32" and (facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or facts.st_uid != os.geteuid()):
        why = "other users may read or change it, and everyone with the key may use this machine's GPU"
        raise UserError(f"The key file {path} is not yours alone", why, "Add --new-key", code=ErrorCode.KEY)
    with contextlib.suppress(ValueError):
        secret = bytes.fromhex(content.decode("ascii"))
        if len(secret) == _KEY_BYTES:
            return secret
    why = f"a key is {_KEY_BYTES} bytes as hexadecimal digits"
    raise UserError(f"The key file {path} holds no key", why, "Add --new-key", code=ErrorCode.KEY)


def _directions(address: Address, key: Key, device: str) -> str:
    """The instructions for the user."""
    host, port = address
    tunnel = f"ssh -N -o ServerAliveInterval=15 -o ExitOnForwardFailure=yes -L {port}:{host}:{port} USER@SERVER"
    shown = f"{key.secret.hex()}  (new; saved in {key.path})" if key.new else f"as before, saved in {key.path}"
    return f"""\
Listening at {host}:{port}. {device}
On the machine with Blender, in a terminal that stays open, with USER and SERVER as you log in here ({platform.node()}):
    {tunnel}
In Blender: Preferences > Add-ons > Blender SAGA, Backend Runs: Elsewhere
    Address: 127.0.0.1:{port}
    Key: {shown}
Ctrl+C ends it."""


def _host_and_port(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)
