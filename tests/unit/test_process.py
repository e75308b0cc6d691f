"""Starting the process: everything that can go wrong is one sentence, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blender_saga.client.connection.process import BackendProcess, Launch
from blender_saga.errors import UserError
from blender_saga.wire.messages import PROTOCOL_VERSION
from tests.paths import ROOT

pytestmark = pytest.mark.usefixtures("patient")
LAUNCH = ROOT / "backend" / "launch.py"


def process_of(tmp_path: Path, source: str) -> BackendProcess:
    """A process that runs this Python source instead of launch.py."""
    script = tmp_path / "launch.py"
    script.write_text(source)
    return BackendProcess(Launch(Path(sys.executable), script, tmp_path, tmp_path / "logs" / "backend.log"))


def refusal(process: BackendProcess, timeout: float = 60) -> UserError:
    with pytest.raises(UserError) as caught:
        process.start(timeout)
    assert not process.alive
    return caught.value


def test_it_reads_the_address_and_hands_over_the_key(tmp_path: Path) -> None:
    ready = json.dumps({"address": ["here", 7], "protocol": PROTOCOL_VERSION})
    source = f"import sys; key = input(); print({ready!r}, flush=True)"
    process = process_of(tmp_path, source + "; print(key, file=sys.stderr, flush=True); sys.stdin.read()")
    assert process.start() == ("here", 7)
    assert process.alive
    process.stop()
    process.stop()
    assert not process.alive
    assert (tmp_path / "logs" / "backend.log").read_text().strip() == process.key.hex()


def test_the_key_is_on_no_command_line(tmp_path: Path) -> None:
    process = process_of(tmp_path, "")
    assert process.key.hex() not in " ".join(process.launch.command())
    assert process_of(tmp_path, "").key != process.key


def test_no_python_there(tmp_path: Path) -> None:
    process = BackendProcess(Launch(tmp_path / "python", LAUNCH, tmp_path, tmp_path / "log"))
    error = refusal(process)
    assert error.code == "not_installed"
    assert "Press Install" in error.sentence()


@pytest.mark.skipif(os.name == "nt", reason="POSIX file modes")
def test_a_python_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("not a program")
    assert refusal(BackendProcess(Launch(tmp_path / "python", LAUNCH, tmp_path, tmp_path / "log"))).code == "start"


def test_a_child_that_dies_says_its_last_words(tmp_path: Path) -> None:
    error = refusal(process_of(tmp_path, "import no_such_module"))
    assert error.sentence() == (
        "The backend did not start: it ended with code 1, its last output was: "
        "ModuleNotFoundError: No module named 'no_such_module'. Press Restart"
    )


def test_a_child_that_never_listens_is_ended(tmp_path: Path) -> None:
    error = refusal(process_of(tmp_path, "import time; time.sleep(1000)"), timeout=0.3)
    assert "it did not start within 0 s" in error.sentence()


@pytest.mark.parametrize("line", ["hello", "[]", "{}", '{"address": 3, "protocol": 1}', "null"])
def test_a_first_line_that_is_none(tmp_path: Path, line: str) -> None:
    error = refusal(process_of(tmp_path, f"print({line!r}, flush=True); input()"))
    assert "its first line was" in error.sentence()


def test_a_backend_of_another_version(tmp_path: Path) -> None:
    source = 'print(\'{"address": ["here", 7], "protocol": 999}\', flush=True); input()'
    error = refusal(process_of(tmp_path, source))
    assert error.code == "version"
    assert "the backend uses protocol version 999" in error.sentence()


def test_stopped_before_it_was_started(tmp_path: Path) -> None:
    process = process_of(tmp_path, "")
    process.stop()
    assert refusal(process).code == "stopped"


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    for number in (1, 2):
        refusal(process_of(tmp_path, f"raise SystemExit('run {number}')"))
    logs = {path.name: path.read_text().strip() for path in (tmp_path / "logs").iterdir()}
    assert logs == {"backend.log": "run 2", "backend.previous.log": "run 1"}


def test_python_variables_do_not_reach_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("SAGA_TEST", "kept")
    source = "import os, sys; sys.exit(f\"{os.environ.get('PYTHONPATH')} {os.environ.get('SAGA_TEST')}\")"
    assert "None kept" in refusal(process_of(tmp_path, source)).sentence()


@pytest.mark.parametrize(("own", "expected"), [(None, "given"), ("own", "own")])
def test_the_child_knows_where_to_keep_what_it_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None, expected: str
) -> None:
    """A folder that the user has chosen for it by the variable goes first."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    if own:
        monkeypatch.setenv("NUMBA_CACHE_DIR", own)
    process = process_of(tmp_path, "import os, sys; sys.exit('folder ' + os.environ['NUMBA_CACHE_DIR'])")
    process.launch = dataclasses.replace(process.launch, cache_dir=Path("given"))
    assert f"folder {expected}." in refusal(process).sentence()


@pytest.mark.parametrize("key", ["", "abc\n", "00\n", "zz" * 32 + "\n", "é" * 9 + "\n", "0" * 5000])
def test_launch_refuses_a_bad_key(key: str) -> None:
    run = subprocess.run([sys.executable, "-I", str(LAUNCH)], input=key, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.strip().startswith("The first line of standard input must be the key")


@pytest.mark.parametrize("installed", [False, True])
def test_launch_finds_the_add_on_by_itself(tmp_path: Path, installed: bool) -> None:
    """In the repository the add-on lies beside backend/, in the installed extension around it."""
    addon = tmp_path if installed else tmp_path / "blender_saga"
    for source, folder in ((ROOT / "blender_saga", addon), (ROOT / "backend", tmp_path / "backend")):
        for path in source.rglob("*.py"):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    launch = tmp_path / "backend" / "launch.py"
    command = [sys.executable, "-I", str(launch)]
    run = subprocess.run(command, input="0" * 64 + "\n", capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert '"protocol"' in run.stdout


@pytest.mark.parametrize(
    ("end", "note"),
    [
        ("pass", "the connection was lost"),
        ("sys.exit('libgomp: Thread creation failed: ...')", "memory ran out (libgomp: Thread creation failed: ...)"),
        ("sys.exit('terminate: std::bad_alloc')", "memory ran out (terminate: std::bad_alloc)"),
        ("os.kill(os.getpid(), 9)", "killed, probably because memory ran out"),
        ("sys.exit('a bug')", "it ended with code 1, its last output was: a bug"),
    ],
)
def test_why_it_ended(tmp_path: Path, end: str, note: str) -> None:
    ready = json.dumps({"address": ["here", 7], "protocol": PROTOCOL_VERSION})
    process = process_of(tmp_path, f"import os, sys; input(); print({ready!r}, flush=True); sys.stdin.read(); {end}")
    process.start()
    assert not process.died and process.exit_note() == "it is still running"
    process._child.stdin.close()  # not `stop`, which kills one that takes its time
    process._child.wait(60)
    assert process.died == (end != "pass") and note in process.exit_note()
    process.stop()


def test_one_that_has_to_be_killed_has_not_died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blender_saga.client.connection.process._STOP_SECONDS", 0.05)
    ready = json.dumps({"address": ["here", 7], "protocol": PROTOCOL_VERSION})
    hangs = f"import threading; input(); print({ready!r}, flush=True); threading.Event().wait()"
    process = process_of(tmp_path, hangs)
    process.start()
    process.stop()
    assert not process.alive and not process.died
