"""Logs: bounded whatever is written, private, and with the last words of a process that crashed."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from blender_saga.client.connection.process import BackendProcess, Launch
from blender_saga.client.support.log_files import MAX_BYTES, BoundedLog, Drain, own_path, tail
from blender_saga.errors import UserError

pytestmark = pytest.mark.usefixtures("patient")


def refusal(tmp_path: Path, source: str, log: Path | None = None) -> str:
    """What is said of a backend that is this source and ends before it listens."""
    script = tmp_path / "launch.py"
    script.write_text(source)
    process = BackendProcess(Launch(Path(sys.executable), script, tmp_path, log or tmp_path / "logs" / "backend.log"))
    with pytest.raises(UserError) as caught:
        process.start()
    return caught.value.sentence()


def sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.iterdir()]


def test_a_chatty_backend_does_not_fill_the_disk(tmp_path: Path) -> None:
    """Its own output and that of what it starts, also in one line without an end."""
    source = "import os\nfor i in range(40): os.write(2, b'warning of some library\\n' * 10_000)\n"
    source += "os.write(2, b'x' * 5_000_000)\nos.write(2, b'\\nthe last words\\n')\nraise SystemExit(3)"
    assert "its last output was: the last words." in refusal(tmp_path, source)
    assert len(sizes(tmp_path / "logs")) == 2 and max(sizes(tmp_path / "logs")) <= MAX_BYTES + 1
    assert tail(tmp_path / "logs" / "backend.log", 1) == ["the last words"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_crash_leaves_its_trace(tmp_path: Path) -> None:
    source = "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(0)"
    said = refusal(tmp_path, source)
    assert "it crashed (Segmentation fault), its last output was: Fatal Python error: Segmentation fault" in said
    assert any("launch.py" in line for line in tail(tmp_path / "logs" / "backend.log", 100))


def test_a_log_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chatty = "import os; os.write(2, b'x' * 1_000_000); raise SystemExit(4)"
    assert "it ended with code 4." in refusal(tmp_path, chatty, tmp_path / "file" / "backend.log")


def test_the_run_before_is_kept_and_nobody_else_may_read(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        log = BoundedLog(tmp_path / "addon.log")
        log.write_line(f"run {number}")
        log.close()
    assert {path.name: path.read_text().strip() for path in tmp_path.iterdir()} == {
        "addon.log": "run 3",
        "addon.previous.log": "run 2",
    }
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_logger_writes_time_and_traceback_within_the_bound(tmp_path: Path) -> None:
    handler = BoundedLog(tmp_path / "addon.log", limit=20_000)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for _ in range(300):
        try:
            raise ValueError("a bug")
        except ValueError:
            logger.exception("something has failed")
    handler.close()
    assert tail(tmp_path / "addon.log", 1) == ["ValueError: a bug"]
    assert len(sizes(tmp_path)) == 2 and max(sizes(tmp_path)) <= 20_000


def test_what_a_grandchild_prints_is_in_the_log_and_does_not_hold_up_the_end(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    drain = Drain(os.fdopen(read_end, "rb"), tmp_path / "log.log")
    os.write(write_end, b"half a line")
    drain.wait(0.05)  # somebody still holds the pipe
    os.write(write_end, b" and the rest\n")
    os.close(write_end)
    drain.wait(30)
    assert tail(tmp_path / "log.log", 5) == ["half a line and the rest"]


def test_logs_of_other_blenders_are_kept_up_to_a_number(tmp_path: Path) -> None:
    for number in range(20):
        other = tmp_path / f"backend-{number}x.log"
        other.touch()
        os.utime(other, (number, number))
    path = own_path(tmp_path, "backend")
    assert path.name == f"backend-{os.getpid()}.log"
    left = sorted(int(p.stem.partition("-")[2][:-1]) for p in tmp_path.iterdir())
    assert left == list(range(13, 20))


def test_a_log_that_another_blender_removes_meanwhile(tmp_path: Path) -> None:
    """It is in the list of the folder and not there any more when it is looked at, as a link to nothing is."""
    (tmp_path / "backend-1.log").symlink_to(tmp_path / "gone")
    assert own_path(tmp_path, "backend").parent == tmp_path


def test_the_tail_of_nothing(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 3) == []
    (tmp_path / "some.log").write_bytes(b"\xff\xfe one\n\n\ntwo\n\n")
    assert tail(tmp_path / "some.log", 3) == ["\ufffd\ufffd one", "two"]
