"""A backend inside the test's own process: a real socket, and a script instead of a server."""

from __future__ import annotations

import threading
from collections.abc import Callable

from blender_saga.wire.channel import Channel, ChannelClosed, Listener, connect, open_socket
from blender_saga.wire.messages import Welcome

KEY = b"scripted" * 4


class ScriptedBackend:
    """Greets one client, then runs the script with its channel; what the script raises is in `errors`."""

    def __init__(self, script: Callable[[Channel], None]) -> None:
        self._listener = Listener(KEY)
        self._script = script
        self.errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def connect(self) -> tuple[Channel, Welcome]:
        """The client's part, as `Connection` wants it."""
        channel = open_socket(self._listener.address)
        return channel, connect(channel, KEY, "a test")

    def join(self) -> None:
        """Wait for the end of the script, and raise what it raised."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the script hangs"
        if self.errors:
            raise self.errors[0]

    def _run(self) -> None:
        try:
            channel = self._listener.accept()
            self._listener.welcome(channel, lambda: Welcome(backend="scripted", device="cpu", note="a script"))
            self._script(channel)
            channel.close()
        except ChannelClosed:
            pass  # the test has hung up
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._listener.close()
