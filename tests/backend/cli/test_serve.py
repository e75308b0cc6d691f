"""`python -m saga_backend serve` as a person starts it: a real process, its key, a tiny scene trained through it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blender_saga.client.backend import Backend
from blender_saga.client.connection.connection import ConnectionState
from blender_saga.client.connection.remote import remote_of
from blender_saga.errors import UserError
from blender_saga.wire.messages import Click, LoadScene, Prompt, SelectOptions, Train, TrainSettings
from saga_backend.cli import serve
from saga_backend.evaluation.synthetic import standard_scene
from tests.fakes.served import Served

SECONDS = 300
"""Limit of a test that hangs: everything may have to be compiled first."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    if served.process.poll() is None:
        served.end(signal.SIGKILL)


@pytest.fixture
def backend(served: Served) -> Iterator[Backend]:
    backend = Backend(remote_of(served.address, served.key))
    backend.start()
    backend.wait_connected(SECONDS)
    yield backend
    backend.stop()


def answer(backend: Backend, message: object) -> object:
    return backend.wait(backend.submit(message), SECONDS).outcome()


def test_train_here_there_and_after_it_was_started_again(served: Served, backend: Backend, tmp_path: Path) -> None:
    scene = standard_scene(objects=2, views=4, seed=3)
    cloud = scene.cloud
    path, name = tmp_path / "mine" / "table.saga", cloud.fingerprint()
    path.parent.mkdir()
    load = LoadScene(name, cloud, count=len(cloud), model_file=str(path))
    assert answer(backend, load).model_steps == 0
    settings = TrainSettings(steps=20, views=6, width=96, height=72, pixels=500)
    trained = answer(backend, Train(name, str(path), settings))
    assert (trained.model_file, trained.steps) == (str(path), 20)
    assert [p.name for p in path.parent.iterdir()] == ["table.saga"]
    view = scene.views[0]
    middle = np.array([[view.width / 2, view.height / 2]], np.float32)
    click = Click(name, (Prompt(view, middle),), options=SelectOptions(scale=0.5))
    first = answer(backend, click)
    assert first.count > 0

    backend.stop()  # serve goes on
    backend.start()
    assert answer(backend, load).model_steps == 20
    np.testing.assert_array_equal(answer(backend, click).bits, first.bits)

    port = served.address.rpartition(":")[2]
    assert served.end() == (0, "Ended\n")
    backend.poll()
    again = Served(tmp_path, "--listen", f"127.0.0.1:{port}")
    try:
        assert (again.address, again.key) == (served.address, served.key)
        backend.start()
        assert backend.wait_connected(SECONDS).machine
        assert answer(backend, load).model_steps == 20  # another server; it was sent the file
        np.testing.assert_array_equal(answer(backend, click).bits, first.bits)
    finally:
        again.end()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_client_is_told(served: Served, backend: Backend, number: int) -> None:
    assert served.end(number) == (0, "Ended\n")
    assert backend._connection.wait(SECONDS)
    backend.poll()
    assert backend.state is ConnectionState.lost
    assert "Traceback" not in served.log.read_text()


def test_what_it_tells_and_what_it_keeps_to_itself(served: Served, tmp_path: Path) -> None:
    key = served.key.strip()
    port = served.address.rpartition(":")[2]
    assert f"-L {port}:127.0.0.1:{port} USER@SERVER" in served.text and key in served.text
    assert len(bytes.fromhex(key)) == 32
    path = tmp_path / "config" / "blender_saga" / "serve.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert key not in Path(f"/proc/{served.process.pid}/cmdline").read_text()
    assert key not in served.log.read_text()
    served.end()
    again = Served(tmp_path)
    again.end()
    assert key not in again.text and str(path) in again.text  # printed once


# --- the key's file, and the address --------------------------------------------------------------------------------


def test_the_key_stays_and_is_renewed_on_request(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    first = serve.load_key(path)
    assert first.new and serve.load_key(path) == serve.Key(first.secret, path, new=False)
    second = serve.load_key(path, renew=True)
    assert second.new and second.secret != first.secret and serve.load_key(path).secret == second.secret


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "ü" * 64, "\0" * 64, "00" * 600])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(UserError, match="holds no key"):
        serve.load_key(path)
    assert path.read_text() == content


@pytest.mark.skipif(os.name != "posix", reason="POSIX file modes")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    serve.load_key(path)
    path.chmod(mode)
    with pytest.raises(UserError, match=r"is not yours alone.*Add --new-key"):
        serve.load_key(path)
    assert serve.load_key(path, renew=True).new


def test_a_key_file_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "key"):
        with pytest.raises(UserError, match="cannot be used"):
            serve.load_key(path)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "localhost", "::1"])
def test_hosts_that_only_this_machine_reaches(host: str) -> None:
    serve.check_host(host, unprotected=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "gpu-box", "127.0.0.1.example.org"])
def test_other_hosts_have_to_be_insisted_on(host: str) -> None:
    with pytest.raises(UserError, match="--unprotected"):
        serve.check_host(host, unprotected=False)
    serve.check_host(host, unprotected=True)


@pytest.mark.parametrize("address", ["8000", "host:", ":1", "host:99999", "host:x", "host:²"])
def test_addresses_that_are_none(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    from saga_backend.cli.main import main

    with pytest.raises(SystemExit) as caught:
        main(["serve", "--listen", address])
    assert caught.value.code == 2 and "is not HOST:PORT" in capsys.readouterr().err


def test_what_cannot_be_had_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from saga_backend.cli.main import main

    key = ["--key-file", str(tmp_path / "key")]
    assert main(["serve", "--listen", "0.0.0.0:0", *key]) == 2
    assert "other machines could reach it" in capsys.readouterr().err
    assert main(["serve", "--listen", "192.0.2.1:0", "--unprotected", *key]) == 2  # an address that no machine has
    assert "cannot listen at 192.0.2.1:0" in capsys.readouterr().err
