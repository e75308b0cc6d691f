"""A backend on another machine, at the near end of an SSH tunnel: where it is, and how one gets in."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from ...errors import ErrorCode, UserError
from ...wire.channel import BEAT_SECONDS, SILENCE_SECONDS, Address, Channel, connect, open_socket
from ...wire.messages import Welcome

_KEY_BYTES = 32


@dataclass(frozen=True)
class Remote:
    """What is connected to instead of starting a process.

    Attributes:
        address: of the tunnel's near end.
        key: shared secret.
        beat, patience: seconds, as of `Channel.keep_alive`.
    """

    address: Address
    key: bytes = field(repr=False)
    beat: float = BEAT_SECONDS
    patience: float = SILENCE_SECONDS

    @property
    def name(self) -> str:
        """ "HOST:PORT"."""
        host, port = self.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def protected(self) -> bool:
        """Whether it is the end of a tunnel: what goes to another machine by itself is not encrypted."""
        try:
            return self.address[0] == "localhost" or ipaddress.ip_address(self.address[0]).is_loopback
        except ValueError:  # a name
            return False

    def connect(self) -> tuple[Channel, Welcome]:
        """Get in; takes its time.

        Raises:
            UserError: why not, in one sentence, and what to do.
        """
        try:
            channel = open_socket(self.address)
        except UserError as error:
            raise UserError(error.what, error.why, self._nobody(), error.code) from error
        try:
            welcome = connect(channel, self.key, "Blender")
        except UserError as error:
            raise self._refused(error) from error
        channel.keep_alive(self.beat, self.patience)
        return channel, welcome

    def _nobody(self) -> str:
        host, port = self.address
        if not self.protected:
            return f"Is 'saga_backend serve' running on {host}, and may one reach its port? Then press Reconnect"
        return f"Is the tunnel up? Start 'ssh -N -L {port}:127.0.0.1:{port} USER@SERVER', then press Reconnect"

    def _refused(self, error: UserError) -> UserError:
        again = "then press Reconnect"
        if error.code == ErrorCode.WRONG_KEY:
            why = f"the key in the preferences is not that of the backend at {self.name}"
            return UserError(
                "The backend refused Blender", why, f"Paste the one that 'serve' has printed, {again}", error.code
            )
        if error.code == ErrorCode.VERSION:
            fix = f"Install the same version on both machines and start 'serve' anew, {again}"
            return UserError(error.what, error.why, fix, error.code)
        if error.code == ErrorCode.UNREACHABLE:
            why = f"the tunnel at {self.name} leads to nobody who answers"
            fix = f"Is 'saga_backend serve' running at its other end, with this port? Start it, {again}"
            return UserError("Blender cannot reach the backend", why, fix, error.code)
        return error


def remote_of(address: str, key: str) -> Remote:
    """What the preferences say.

    Args:
        address: "HOST:PORT", or "[HOST]:PORT" where the host has colons.
        key: hexadecimal digits, as `serve` prints them.

    Raises:
        UserError: if the one or the other is missing or malformed.
    """
    where = "In the preferences of Blender SAGA"
    if not address.strip():
        raise UserError(
            "No backend was chosen", "its address is empty", f"{where} enter HOST:PORT of the tunnel", ErrorCode.ADDRESS
        )
    host, colon, port = address.strip().rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        why = f"{address.strip()!r} is not HOST:PORT"
        raise UserError(
            "The backend's address is not usable", why, f"{where} enter one like 127.0.0.1:7860", ErrorCode.ADDRESS
        )
    try:
        secret = bytes.fromhex(key.strip())
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        why = f"{2 * _KEY_BYTES} hexadecimal digits are expected" if key.strip() else "it is empty"
        raise UserError(
            "The backend's key is not usable", why, f"{where} paste the one that 'serve' has printed", ErrorCode.KEY
        )
    return Remote((host, int(port)), secret)
