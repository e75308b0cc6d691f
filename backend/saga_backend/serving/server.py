"""The server: it receives requests from clients, passes them to the session and sends the answers."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blender_saga.errors import REPORT, ErrorCode, UserError
from blender_saga.wire.channel import SILENCE_SECONDS, Channel, ChannelClosed, Listener
from blender_saga.wire.codec import WireError
from blender_saga.wire.messages import Cancel, Done, Failed, Lane, LoadScene, Request, Shutdown, Unload, Welcome

from .. import __version__
from .client import Client
from .handshake_queue import HandshakeQueue
from .jobs import Job, Worker, failed_by_bug
from .path_policy import Confinement

if TYPE_CHECKING:
    from ..common.device import Device
    from .session import Session

log = logging.getLogger(__name__)


_ANYWHERE = Confinement()
_FAREWELL_SECONDS = 30.0
"""Limit for the answer to Shutdown on its way out: the machine may be busy, or the client may read nothing."""

OpenSession = Callable[[str], "tuple[Device, Any]"]
"""Finds the requested device and makes the session on it; raises UserError. A session has a method for every request
that the server does not answer itself; its name is `Request.handler`. Tests use a session without torch."""


def open_session(device_name: str) -> tuple[Device, Session]:
    """Open the real session. Its imports (torch, numba) take seconds, so they wait for the first client."""
    from ..common.device import find_device

    device = find_device(device_name)  # this comes first: its error explains a missing torch
    from .session import Session
    from .warm_up import warm_up

    return device, Session(device.name, warm_up)


class Server:
    """Serves any number of clients in its own threads.

    Args:
        listener: source of the connections.
        device: "auto", "cpu" or "cuda".
        open_session: makes the session.
        lasting: the server outlives its clients, which use tunnels from other machines (docs/developer/protocol.md).
        confinement: folders that requests may use.

    Attributes:
        ended: is set when a client has requested the end of the process.
        handshakes: the clients in their handshake, and the number of rejected clients.
    """

    def __init__(
        self,
        listener: Listener,
        device: str,
        open_session: OpenSession = open_session,
        lasting: bool = False,
        confinement: Confinement = _ANYWHERE,
    ) -> None:
        self.ended = threading.Event()
        self.handshakes = HandshakeQueue()
        self._lasting = lasting
        self._confinement = confinement
        self._listener = listener
        self._device_name = device
        self._open_session = open_session
        self._device_and_session: tuple[Device, Any] | None = None
        self._open_lock = threading.Lock()
        self._workers: dict[Lane, Worker] = {lane: Worker(lane.value) for lane in Lane if lane is not Lane.at_once}
        self._current_training: tuple[Client, Job] | None = None
        self._clients: set[Client] = set()
        self._scenes: set[str] = set()
        self._clients_lock = threading.Lock()
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    @property
    def refused(self) -> int:
        """Number of clients with a wrong key."""
        return self.handshakes.refused

    def _accept(self) -> None:
        try:
            while True:
                channel = self._listener.accept()
                self.handshakes.enter(channel)
                try:
                    threading.Thread(target=self._serve, args=(channel,), name="client", daemon=True).start()
                except (RuntimeError, MemoryError) as error:  # no thread is left; there may be one for the next client
                    self.handshakes.leave(channel)
                    channel.close()
                    log.error("A client cannot be served: %s", error)
        except ChannelClosed:
            self.ended.set()

    def _serve(self, channel: Channel) -> None:
        """Serve one client, from its handshake to its end."""
        try:
            self._listener.welcome(channel, lambda: self._welcome_client(channel))
        except (UserError, ChannelClosed) as error:
            self.handshakes.reject(error)
            return
        finally:
            self.handshakes.leave(channel)
        log.info("A client is connected")
        if self._lasting:
            channel.keep_alive(patience=None)
        try:
            client = Client(channel)
        except (RuntimeError, MemoryError) as error:  # no thread is left to answer it
            channel.close()
            log.error("A client cannot be served: %s", error)
            return
        with self._clients_lock:
            self._clients.add(client)
        try:
            while True:
                self._receive(client)
        except ChannelClosed:
            log.info("A client has disconnected")
        except WireError as error:
            log.error("A client sent invalid data: %s", error)
        finally:
            with self._clients_lock:
                self._clients.discard(client)
            client.close()

    def close(self) -> None:
        """Stop listening and close all clients; their jobs are cancelled."""
        self._listener.close()
        with self._clients_lock:
            clients = list(self._clients)
        for client in clients:
            client.close()

    def open(self) -> Device:
        """Open the session now instead of with the first client; returns its device.

        Raises:
            UserError: if it cannot be opened.
        """
        self._welcome()
        assert self._device_and_session is not None
        return self._device_and_session[0]

    def _welcome_client(self, channel: Channel) -> Welcome:
        self.handshakes.leave(channel)  # the import of torch may take long from here on
        return self._welcome()

    def _welcome(self) -> Welcome:
        with self._open_lock:
            try:
                if self._device_and_session is None:
                    self._device_and_session = self._open_session(self._device_name)
            except UserError:
                raise
            except Exception as error:  # a broken torch raises anything
                log.exception("The session could not be opened")
                raise failed_by_bug(error).error() from error
        device, _ = self._device_and_session
        machine = platform.node() if self._lasting else ""
        return Welcome(
            backend=__version__, device=device.name, note=device.note, machine=machine, obstacle=device.obstacle
        )

    def _receive(self, client: Client) -> None:
        """Receive one message of a client and process it."""
        try:
            job_id, request = client.channel.receive()
        except WireError as error:
            if error.message_id == 0:
                raise  # no client waits for an answer to it
            client.outbox.answer(error.message_id, Failed.of(error))
            return
        if isinstance(request, Cancel):
            client.cancel(request.target)
            client.outbox.answer(job_id, Done())
        elif isinstance(request, Shutdown):
            self._shut_down(client, job_id)
        elif isinstance(request, Request) and request.lane is Lane.at_once:
            Job(job_id, request, client.outbox).run(self._handle)
        else:
            self._enqueue(client, job_id, request)

    def _shut_down(self, client: Client, job_id: int) -> None:
        if self._lasting:
            fix = "Press Ctrl C in its terminal"
            what = "Clients cannot stop this backend"
            client.outbox.answer(job_id, Failed(ErrorCode.NOT_YOURS, what, fix=fix))
            return
        client.outbox.answer(job_id, Done())
        client.outbox.close(timeout=_FAREWELL_SECONDS)
        self.ended.set()

    def _enqueue(self, client: Client, job_id: int, request: object) -> None:
        """Queue a request, unless one with its number is still in progress.

        Every request passes the thread of the queries, which passes long ones on. So a scene is loaded before its
        training.
        """
        job = client.add(job_id, request)
        if job is None:
            why = f"the request {job_id} is still in progress, and another one has the same number"
            client.outbox.answer(job_id, Failed(ErrorCode.WIRE, "A request was sent twice", why, "Press Restart"))
        else:
            self._workers[Lane.queries].put(lambda: self._dispatch(client, job))

    def _check_paths(self, client: Client, job: Job) -> bool:
        """Check the paths of a request. If one is not allowed, the answer says so, and the result is False."""
        try:
            self._confinement.check(job.request)
        except UserError as error:
            log.warning("%s was refused: %s", job.name, error)
            job.answer(Failed.of(error))
            client.remove(job)
            return False
        return True

    def _dispatch(self, client: Client, job: Job) -> None:
        """Answer a query; pass any other request to its lane."""
        if not self._check_paths(client, job):
            return
        lane = getattr(job.request, "lane", Lane.queries)
        if isinstance(job.request, LoadScene):
            self._forget_abandoned(client, job.request.scene)
        if lane is Lane.training:
            self._begin_training(client, job)
        elif lane is Lane.queries:
            self._answer(client, job)
        else:
            self._workers[lane].put(lambda: self._answer(client, job))

    def _answer(self, client: Client, job: Job) -> None:
        job.run(self._handle)
        client.remove(job)

    def _handle(self, job: Job) -> object:
        """Let the session answer a request."""
        job.check()
        assert self._device_and_session is not None  # the session opens before the first welcome
        request = job.request
        handler = getattr(self._device_and_session[1], request.handler, None) if isinstance(request, Request) else None
        if handler is None:
            why = f"{type(request).__name__} is not a request"
            raise UserError("The backend cannot do this", why, fix=REPORT, code=ErrorCode.WIRE)
        return handler(request, job) if request.lasts else handler(request)

    def _forget_abandoned(self, client: Client, scene: str) -> None:
        """Note the scene of a client, and unload the scenes that only disconnected clients had."""
        assert self._device_and_session is not None
        client.scenes.add(scene)
        with self._clients_lock:
            used = set().union(*(each.scenes for each in self._clients), client.scenes)
            abandoned, self._scenes = self._scenes - used, used
        for name in abandoned:
            self._device_and_session[1].unload(Unload(name))

    def _begin_training(self, client: Client, job: Job) -> None:
        if (
            self._current_training is not None
            and self._lasting
            and self._current_training[0].channel.silence > SILENCE_SECONDS
        ):
            log.warning("The training of a silent client ends for the training of another client")
            self._current_training[0].close()  # its training ends at its next step; then this one begins
            self._current_training = None
        with self._clients_lock:  # the training of a disconnected client ends at its next step; then this one begins
            busy = self._current_training is not None and self._current_training[0] in self._clients
        if busy:
            fix = "Wait for it to end, or cancel it"
            job.answer(Failed(ErrorCode.BUSY, "The backend is training already", "it runs one training at a time", fix))
            client.remove(job)
            return
        self._current_training = client, job

        def work(job: Job) -> object:
            try:
                return self._handle(job)
            finally:
                if self._current_training is not None and self._current_training[1] is job:
                    self._current_training = None  # before the answer: after it, the client may train again

        def train() -> None:
            job.run(work)
            client.remove(job)

        self._workers[Lane.training].put(train)
