"""Who does not know the key gets nowhere: refused, counted, dropped in time, and no hindrance to who does."""

from __future__ import annotations

import contextlib
import hmac
import random
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import connection as mp
from pathlib import Path

import pytest

from blender_saga.client.connection.process import Launch
from blender_saga.errors import UserError
from blender_saga.wire import codec
from blender_saga.wire.channel import Channel, connect, open_socket
from blender_saga.wire.messages import Failed, Hello, LoadScene, SceneState, Shutdown, Train, TrainSettings
from saga_backend.serving import handshake_queue
from tests.faults.honest import small_cloud
from tests.faults.real import until
from tests.faults.target import FAKE, SECONDS, Target

QUICK = TrainSettings(steps=1)
HTTP = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path, FAKE)
    yield target
    target.stop()


def log_of(target: Target) -> str:
    return target.process.launch.log_path.read_text()


def turned_away(target: Target) -> list[str]:
    """Lines of the log; it is written a little after what it is about."""
    return [line for line in log_of(target).splitlines() if "was rejected" in line]


def works(target: Target) -> float:
    """Seconds until a new client of ours is answered."""
    began = time.monotonic()
    with_key = target.connected()
    target.channel.close()
    target.channel = with_key
    assert isinstance(target.ask(LoadScene("toy", small_cloud(0))), SceneState)
    return time.monotonic() - began


def test_wrong_keys_are_refused_and_counted(case, counts, target: Target) -> None:
    total = counts(reduced=200, full=5_000)
    with case(f"{total:,} clients with a wrong key") as row:
        for _ in range(total):
            with pytest.raises(UserError) as caught:
                connect(open_socket(target.address), secrets.token_bytes(32))
            assert caught.value.code == "wrong_key"
        row.right(works(target))
        until(lambda: len(turned_away(target)) > 10, "the log of those who did not get in")
        told = turned_away(target)
        assert "it does not know the key" in told[0] and len(told) < 30  # counted all, logged some
        assert target.process.alive
        row.lost, row.remark = "nothing", f"{len(told)} lines of log"


def test_what_is_no_handshake(case, counts, seed: int, target: Target) -> None:
    """Bytes as a web page, another program or a scanner of ports sends them; a message before the key is none."""
    rng = random.Random(seed)
    total = counts(reduced=300, full=5_000)
    hello = codec.encode(0, Hello())
    ends = [codec.encode(1, Shutdown()), hello, len(hello).to_bytes(4, "big") + hello, HTTP, b"", b"\xff" * 12]
    with case(f"{total:,} connections that send something else than a handshake") as row:
        for _ in range(total):
            sent = rng.choice([*ends, rng.randbytes(rng.randrange(300)), (256).to_bytes(4, "big") + rng.randbytes(256)])
            with socket.create_connection(target.address, SECONDS) as sock:
                try:
                    sock.sendall(sent)
                    sock.shutdown(socket.SHUT_WR)
                    assert b"#WELCOME#" not in _all(sock)
                except TimeoutError:
                    raise
                except OSError:
                    pass  # hung up on us, which is as good; before our shutdown that is no ConnectionError but ENOTCONN
        row.right(works(target))
        assert target.process.alive
        row.lost, row.remark = "nothing", f"seed {seed}"


def _all(sock: socket.socket) -> bytes:
    received = b""
    while piece := sock.recv(4096):
        received += piece
    return received


def test_those_who_wait_shut_nobody_out(case, counts, target: Target) -> None:
    total = counts(reduced=300, full=3_000)
    with case(f"{total:,} connections that say nothing, while one of ours comes") as row:
        silent = [socket.create_connection(target.address, SECONDS) for _ in range(total)]
        row.right(works(target))
        assert target.memory("VmRSS") < 300 << 20
        dropped = 0
        for sock in silent[: total - handshake_queue.MOST_WAITING - 1]:  # the newest may still wait, for ten seconds
            sock.settimeout(SECONDS)
            with contextlib.suppress(ConnectionError):
                _all(sock)
            dropped += 1
        for sock in silent:
            sock.close()
        row.lost, row.remark = "nothing", f"{dropped:,} were dropped for newer ones"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes are Linux's")
def test_no_free_handle_ends_nothing(case, target: Target) -> None:
    with case("clients that come while the backend has no free file handle") as row:
        import resource

        pid = target.process._child.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()) + 1, hard))
        waiting = [socket.create_connection(target.address, SECONDS) for _ in range(5)]
        assert isinstance(target.ask(LoadScene("toy", small_cloud(0))), SceneState)
        for sock in waiting:
            sock.close()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        row.right(works(target))
        row.lost = "nothing"


def test_the_key_is_compared_in_constant_time() -> None:
    """The handshake is multiprocessing's: this holds that it still compares as it should, whatever Python comes."""
    assert "compare_digest" in mp._verify_challenge.__code__.co_names
    assert hmac.compare_digest(b"a", b"a") and not hmac.compare_digest(b"a", b"b")


def test_every_start_has_a_key_of_its_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        targets = list(pool.map(lambda name: Target(_made(tmp_path / name), FAKE), ("a", "b")))
    try:
        assert targets[0].process.key != targets[1].process.key
        assert all(len(target.process.key) == 32 for target in targets)
        with pytest.raises(UserError) as caught:
            connect(open_socket(targets[0].address), targets[1].process.key)
        assert caught.value.code == "wrong_key"
        for target in targets:  # the key is nowhere that others could read: neither command line nor environment
            key = target.process.key.hex()
            assert key not in " ".join(target.process.launch.command())
            assert key not in log_of(target)
            assert target.address[0] == "127.0.0.1"
    finally:
        for target in targets:
            target.stop()


def test_a_proof_cannot_be_used_again(target: Target) -> None:
    """Every challenge is another: what was heard of one handshake opens no second one."""
    heard = []
    with socket.create_connection(target.address, SECONDS) as sock:
        raw = Channel(sock.dup())._connection
        challenge = raw.recv_bytes(256)
        proof = mp._create_response(target.process.key, challenge.removeprefix(mp._CHALLENGE))
        raw.send_bytes(proof)
        assert raw.recv_bytes(256) == mp._WELCOME
        heard.append(proof)
    with socket.create_connection(target.address, SECONDS) as sock:
        raw = Channel(sock.dup())._connection
        assert raw.recv_bytes(256) != challenge
        raw.send_bytes(heard[0])
        assert raw.recv_bytes(256) == mp._FAILURE
    assert works(target) < SECONDS


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_with_a_root_no_request_leads_out_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the process, its option and its socket; backend/serving/test_path_policy tests each kind of path."""
    root = _made(tmp_path / "root")
    command = Launch.command
    monkeypatch.setattr(Launch, "command", lambda self: [*command(self), "--root", str(root)])
    target = Target(tmp_path, FAKE)
    try:
        for path, refused in ((tmp_path / "x.saga", True), (root / ".." / "x.saga", True), (root / "x.saga", False)):
            for request in (LoadScene("toy", small_cloud(0), model_file=str(path)), Train("toy", str(path), QUICK)):
                said = target.ask(request)
                assert isinstance(said, Failed) == refused
                assert not refused or (said.code == "bad_path" and str(root) in said.why)
        until(lambda: "was refused" in log_of(target), "the log of what was refused")
    finally:
        target.stop()
