"""A backend on another machine, behind an SSH tunnel: its address, and the connection to it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from ...errors import ErrorCode, UserError
from ...wire.channel import BEAT_SECONDS, SILENCE_SECONDS, Address, Channel, connect, open_socket
from ...wire.messages import Welcome

_KEY_BYTES = 32


@dataclass(frozen=True)
class Remote:
    """A remote backend to connect to.

    Attributes:
        address: local end of the tunnel.
        key: shared secret.
        beat, patience: seconds, as in `Channel.keep_alive`.
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
        """Whether the address is a tunnel on this machine; other connections are not encrypted."""
        try:
            return self.address[0] == "localhost" or ipaddress.ip_address(self.address[0]).is_loopback
        except ValueError:  # a host name
            return False

    def connect(self) -> tuple[Channel, Welcome]:
        """Connect and do the handshake; may take long.

        Raises:
            UserError: if this fails, with the reason and a fix.
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
            return (
                f"Check that 'saga_backend serve' is running on {host} and that its port is open, then press Reconnect"
            )
        return f"Start the tunnel with 'ssh -N -L {port}:127.0.0.1:{port} USER@SERVER', then press Reconnect"

    def _refused(self, error: UserError) -> UserError:
        again = "then press Reconnect"
        if error.code == ErrorCode.WRONG_KEY:
            why = f"the key in the preferences does not match the backend at {self.name}"
            return UserError(
                "The backend refused Blender", why, f"Paste the key that 'serve' printed, {again}", error.code
            )
        if error.code == ErrorCode.VERSION:
            fix = f"Install the same version on both machines and restart 'serve', {again}"
            return UserError(error.what, error.why, fix, error.code)
        if error.code == ErrorCode.UNREACHABLE:
            why = f"nothing answers at the other end of the tunnel {self.name}"
            fix = f"Start 'saga_backend serve' at its other end with this port, {again}"
            return UserError("Blender cannot reach the backend", why, fix, error.code)
        return error


def remote_of(address: str, key: str) -> Remote:
    """The remote backend from the preferences.

    Args:
        address: "HOST:PORT", or "[HOST]:PORT" for a host with colons.
        key: the hexadecimal key that `serve` prints.

    Raises:
        UserError: if the address or the key is missing or malformed.
    """
    where = "In the preferences of Blender SAGA"
    if not address.strip():
        raise UserError(
            "No backend is chosen", "its address is empty", f"{where}, enter HOST:PORT of the tunnel", ErrorCode.ADDRESS
        )
    host, colon, port = address.strip().rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 1 << 16):
        why = f"{address.strip()!r} is not HOST:PORT"
        raise UserError(
            "The backend's address is not valid",
            why,
            f"{where}, enter an address such as 127.0.0.1:7860",
            ErrorCode.ADDRESS,
        )
    try:
        secret = bytes.fromhex(key.strip())
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        why = f"it must have {2 * _KEY_BYTES} hexadecimal digits" if key.strip() else "it is empty"
        raise UserError(
            "The backend's key is not valid", why, f"{where}, paste the key that 'serve' printed", ErrorCode.KEY
        )
    return Remote((host, int(port)), secret)
