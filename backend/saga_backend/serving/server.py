"""The server: takes requests from clients, hands them to the session, sends the answers back."""

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
"""How long the answer to Shutdown may take to go out, on a busy machine or to a client that reads nothing."""


OpenSession = Callable[[str], "tuple[Device, Any]"]
"""Finds the wanted device and makes the session on it; raises UserError. A session has a method for every request that
the server does not answer itself, named by `Request.handler`; tests bring one that needs no torch."""


def open_session(wanted: str) -> tuple[Device, Session]:
    """The real session. Its imports (torch, numba) take seconds, so they wait for the first client."""
    from ..common.device import find_device

    device = find_device(wanted)  # first: it says in words when torch is missing
    from .session import Session
    from .warm_up import warm_up

    return device, Session(device.name, warm_up)


class Server:
    """Serves any number of clients from threads of its own.

    Args:
        listener: where they come from.
        device: "auto", "cpu" or "cuda".
        open_session: makes the session.
        lasting: it outlives its clients, which come from other machines through tunnels (docs/developer/protocol.md).
        confinement: where the paths of requests may lead.

    Attributes:
        ended: set when a client asked for the end of the process.
        door: who waits to be let in, and how many were not.
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
        self._wanted = device
        self._open_session = open_session
        self._opened: tuple[Device, Any] | None = None
        self._opening = threading.Lock()
        self._workers: dict[Lane, Worker] = {lane: Worker(lane.value) for lane in Lane if lane is not Lane.at_once}
        self._trained: tuple[Client, Job] | None = None
        self._clients: set[Client] = set()
        self._scenes: set[str] = set()
        self._counting = threading.Lock()
        threading.Thread(target=self._accept, name="accept", daemon=True).start()

    @property
    def refused(self) -> int:
        """How many clients did not know the key."""
        return self.handshakes.refused

    def _accept(self) -> None:
        try:
            while True:
                channel = self._listener.accept()
                self.handshakes.enter(channel)
                try:
                    threading.Thread(target=self._serve, args=(channel,), name="client", daemon=True).start()
                except (RuntimeError, MemoryError) as error:  # no thread is left: the next one may find one
                    self.handshakes.leave(channel)
                    channel.close()
                    log.error("A client cannot be served: %s", error)
        except ChannelClosed:
            self.ended.set()

    def _serve(self, channel: Channel) -> None:
        """One client, from its handshake to its end."""
        try:
            self._listener.welcome(channel, lambda: self._known(channel))
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
        with self._counting:
            self._clients.add(client)
        try:
            while True:
                self._receive(client)
        except ChannelClosed:
            log.info("A client is gone")
        except WireError as error:
            log.error("A client is not understood: %s", error)
        finally:
            with self._counting:
                self._clients.discard(client)
            client.close()

    def close(self) -> None:
        """Let nobody in any more, and part from the clients: their work is cancelled."""
        self._listener.close()
        with self._counting:
            clients = list(self._clients)
        for client in clients:
            client.close()

    def open(self) -> Device:
        """Open the session now, not for the first client; returns what it computes on.

        Raises:
            UserError: if it cannot be.
        """
        self._welcome()
        assert self._opened is not None
        return self._opened[0]

    def _known(self, channel: Channel) -> Welcome:
        self.handshakes.leave(channel)  # it may have to wait for torch now
        return self._welcome()

    def _welcome(self) -> Welcome:
        with self._opening:
            try:
                if self._opened is None:
                    self._opened = self._open_session(self._wanted)
            except UserError:
                raise
            except Exception as error:  # a broken torch raises anything
                log.exception("The session could not be opened")
                raise failed_by_bug(error).error() from error
        device, _ = self._opened
        machine = platform.node() if self._lasting else ""
        return Welcome(
            backend=__version__, device=device.name, note=device.note, machine=machine, obstacle=device.obstacle
        )

    def _receive(self, client: Client) -> None:
        """Take one message of a client and see to it."""
        try:
            job_id, request = client.channel.receive()
        except WireError as error:
            if error.message_id == 0:
                raise  # nobody waits for an answer to it
            client.outbox.answer(error.message_id, Failed.of(error))
            return
        if isinstance(request, Cancel):
            client.cancel(request.target)
            client.outbox.answer(job_id, Done())
        elif isinstance(request, Shutdown):
            self._shut_down(client, job_id)
        elif isinstance(request, Request) and request.lane is Lane.at_once:
            Job(job_id, request, client.outbox).run(self._handled)
        else:
            self._take_up(client, job_id, request)

    def _shut_down(self, client: Client, job_id: int) -> None:
        if self._lasting:
            fix = "Press Ctrl C where it was started"
            what = "This backend is not ended by its clients"
            client.outbox.answer(job_id, Failed(ErrorCode.NOT_YOURS, what, fix=fix))
            return
        client.outbox.answer(job_id, Done())
        client.outbox.close(timeout=_FAREWELL_SECONDS)
        self.ended.set()

    def _take_up(self, client: Client, job_id: int, request: object) -> None:
        """Queue a request, if none by its number is still at work.

        Every request passes the queries' thread, which hands long ones on: a scene is loaded before it is trained.
        """
        job = client.add(job_id, request)
        if job is None:
            why = f"the request {job_id} is still being worked on, and another came by its number"
            client.outbox.answer(job_id, Failed(ErrorCode.WIRE, "A request was sent twice", why, "Press Restart"))
        else:
            self._workers[Lane.queries].put(lambda: self._begin(client, job))

    def _allowed(self, client: Client, job: Job) -> bool:
        """Whether the paths of a request are those of files it may use; else it has been answered."""
        try:
            self._confinement.check(job.request)
        except UserError as error:
            log.warning("%s was refused: %s", job.name, error)
            job.answer(Failed.of(error))
            client.remove(job)
            return False
        return True

    def _begin(self, client: Client, job: Job) -> None:
        """Answer a query; hand any other request on to its lane."""
        if not self._allowed(client, job):
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
        job.run(self._handled)
        client.remove(job)

    def _handled(self, job: Job) -> object:
        """The session's answer to a request."""
        job.check()
        assert self._opened is not None  # it is, before the first client is welcome
        request = job.request
        handler = getattr(self._opened[1], request.handler, None) if isinstance(request, Request) else None
        if handler is None:
            why = f"{type(request).__name__} is not a request"
            raise UserError("The backend cannot do this", why, fix=REPORT, code=ErrorCode.WIRE)
        return handler(request, job) if request.lasts else handler(request)

    def _forget_abandoned(self, client: Client, scene: str) -> None:
        """A client loads a scene: forget those that only clients had that have gone since."""
        assert self._opened is not None
        client.scenes.add(scene)
        with self._counting:
            used = set().union(*(each.scenes for each in self._clients), client.scenes)
            abandoned, self._scenes = self._scenes - used, used
        for name in abandoned:
            self._opened[1].unload(Unload(name))

    def _begin_training(self, client: Client, job: Job) -> None:
        if self._trained is not None and self._lasting and self._trained[0].channel.silence > SILENCE_SECONDS:
            log.warning("A client that has fallen silent gives way to another one's training")
            self._trained[0].close()  # its training ends at its next step, and then this one begins
            self._trained = None
        with self._counting:  # one whose client has gone ends at its next step, and then this one begins
            busy = self._trained is not None and self._trained[0] in self._clients
        if busy:
            fix = "Wait for it to end, or cancel it"
            job.answer(Failed(ErrorCode.BUSY, "The backend trains already", "it does one training at a time", fix))
            client.remove(job)
            return
        self._trained = client, job

        def work(job: Job) -> object:
            try:
                return self._handled(job)
            finally:
                if self._trained is not None and self._trained[1] is job:
                    self._trained = None  # before the answer: who has it may train again

        def train() -> None:
            job.run(work)
            client.remove(job)

        self._workers[Lane.training].put(train)
