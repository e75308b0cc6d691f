"""The backend as a server of its own, for Blenders on other machines: `python -m saga_backend serve`.

They come through an SSH tunnel to a port of this machine's loopback, and prove that they know a key. What travels after
that is neither encrypted nor signed, which is why nothing else is listened at unless one insists.
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
"""Bytes of a key file that are read."""


def add_serve(commands: argparse._SubParsersAction) -> None:
    """Describe the command."""
    serve = commands.add_parser(
        "serve",
        help="be the backend of Blenders on other machines, through SSH tunnels",
        description="Wait for Blenders on other machines, which come through SSH tunnels. It says what to type where, "
        "and runs until Ctrl+C or SIGTERM.",
    )
    serve.add_argument(
        "--listen",
        type=_host_and_port,
        default=("127.0.0.1", 0),
        metavar="HOST:PORT",
        help="where the tunnel ends (default: 127.0.0.1:0, a port that is free)",
    )
    serve.add_argument(
        "--unprotected",
        action="store_true",
        help="allow a HOST that other machines can reach: what travels there is not encrypted",
    )
    serve.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="of the key, made if it is missing (default: in the user's settings)",
    )
    serve.add_argument("--new-key", action="store_true", help="make another key: who has the old one stays outside")
    serve.add_argument(
        "--root", type=Path, metavar="DIR", help="the folder in which every file must lie that a client names"
    )
    serve.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: CUDA if it works")
    serve.set_defaults(run=run_serve)


def run_serve(options: argparse.Namespace) -> None:
    """Serve until a signal says to end. Does not return: threads that compute would hold the process up.

    Raises:
        UserError: if the address, the key or the device cannot be had.
    """
    check_host(options.listen[0], options.unprotected)
    key = key_of(options.key_file or config_folder() / "serve.key", options.new_key)
    listener = Listener(key.secret, options.listen)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
    server = Server(listener, options.device, lasting=True, confinement=Confinement(options.root))
    told = _signals()
    print(_directions(listener.address, key, server.open().note), flush=True)
    told.recv(1)
    server.close()
    print("Ended", flush=True)
    logging.shutdown()
    os._exit(0)  # files are only ever replaced whole


def _signals() -> socket.socket:
    """Where a byte arrives when somebody wants the end.

    (An event that a handler sets would not do: a signal may reach a thread of torch or numba, and then the main thread
    goes on waiting for its lock, in which Python runs no handler.)
    """
    told, tells = socket.socketpair()
    tells.setblocking(False)
    signal.set_wakeup_fd(tells.detach())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return told


def check_host(host: str, unprotected: bool) -> None:
    """Make sure that other machines cannot reach us, unless they shall.

    Raises:
        UserError: if they could.
    """
    loopback = host == "localhost"
    with contextlib.suppress(ValueError):  # a name: who knows where it leads
        loopback = loopback or ipaddress.ip_address(host).is_loopback
    if not loopback and not unprotected:
        why = "other machines could reach it, and nothing that travels there is encrypted"
        fix = "Use 127.0.0.1 and an SSH tunnel, or add --unprotected in a network that you trust"
        raise UserError(f"It does not listen at {host}", why, fix, ErrorCode.ADDRESS)


@dataclass(frozen=True)
class Key:
    """What clients must know, where it is kept, and whether it was made just now."""

    secret: bytes
    path: Path
    new: bool


def key_of(path: Path, renew: bool = False) -> Key:
    """The key of a file that only its owner may read; one is made at random where there is none, or `renew` says so.

    Raises:
        UserError: if others may read the file, or it holds no key, or cannot be read or written.
    """
    try:
        if renew:
            path.unlink(missing_ok=True)
        with contextlib.suppress(FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return Key(_made(path), path, new=True)
        return Key(_read(path), path, new=False)
    except OSError as error:
        raise UserError(
            f"The key file {path} cannot be used",
            error.strerror or str(error),
            fix="Choose a place that you may write to",
            code=ErrorCode.KEY,
        ) from error


def _made(path: Path) -> bytes:
    secret = secrets.token_bytes(_KEY_BYTES)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secret.hex()}\n")
    return secret


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        facts, content = os.fstat(file.fileno()), file.read(_MOST_KEY_FILE)
    if os.name == "posix" and (facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or facts.st_uid != os.geteuid()):
        why = "others than you may read or change it, and who has the key may use this machine's GPU"
        raise UserError(f"The key file {path} is not yours alone", why, "Add --new-key", code=ErrorCode.KEY)
    with contextlib.suppress(ValueError):
        secret = bytes.fromhex(content.decode("ascii"))
        if len(secret) == _KEY_BYTES:
            return secret
    why = f"a key is {_KEY_BYTES} bytes as hexadecimal digits"
    raise UserError(f"The key file {path} holds no key", why, "Add --new-key", code=ErrorCode.KEY)


def _directions(address: Address, key: Key, device: str) -> str:
    """What to do now, for the person who has started it."""
    host, port = address
    tunnel = f"ssh -N -o ServerAliveInterval=15 -o ExitOnForwardFailure=yes -L {port}:{host}:{port} USER@SERVER"
    told = f"{key.secret.hex()}  (new; kept in {key.path})" if key.new else f"as before, it stands in {key.path}"
    return f"""\
Listening at {host}:{port}. {device}
On the machine with Blender, in a terminal that stays open, with USER and SERVER as you log in here ({platform.node()}):
    {tunnel}
In Blender: Preferences > Add-ons > Blender SAGA, Backend Runs: Elsewhere
    Address: 127.0.0.1:{port}
    Key: {told}
Ctrl+C ends it."""


def _host_and_port(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)
