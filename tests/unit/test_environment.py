"""The installer, offline: pip, uv and Python itself are played by one small program that writes down its calls."""

from __future__ import annotations

import os
import stat
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from blender_saga.client.install import environment as environment_module
from blender_saga.client.install import uv
from blender_saga.client.install.commands import CommandFailed, child_environ, run
from blender_saga.client.install.environment import Environment, EnvironmentState
from blender_saga.client.install.install_progress import SyncProgress
from blender_saga.client.install.pythons import find_python
from blender_saga.errors import Cancelled, UserError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for uv and Python are #! scripts")

REAL_PYTHON = sys.executable
STAND_IN = r"""
import os, pathlib, shutil, sys, time

call = [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]
work = pathlib.Path(os.environ["STAND_IN"])
with (work / "calls.txt").open("a") as calls:
    calls.write(" ".join(call) + "\n")
for line in (work / "faults.txt").read_text().splitlines():  # "part of the call => what it prints before it fails"
    part, _, text = line.partition(" => ")
    if part in " ".join(call):
        if text == "hang":
            print("hanging", flush=True)
            time.sleep(600)
        sys.exit(text)


def copy_to(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(sys.argv[0], path)


if "--version" in call:
    print("uv 0.13.8")
elif "-c" in call:  # "are you a Python 3.13, and which?"
    print("True", sys.argv[0])
elif "venv" in call:
    folder = pathlib.Path(call[-1])
    copy_to(folder / "bin" / "python")
    (folder / "pyvenv.cfg").touch()
elif call[1:4] == ["-m", "pip", "install"]:
    assert "--require-hashes" in call and call[-1].endswith("uv.txt")
    copy_to(pathlib.Path(sys.argv[0]).with_name("uv"))
elif call[1:4] == ["-m", "pip", "config"]:
    print((work / "pip.txt").read_text())
elif call[1:3] == ["pip", "sync"]:
    assert "--require-hashes" in call and "--no-build" in call
    print("Resolved 1 package")
elif call[1:3] == ["python", "find"]:
    print("/somewhere/python3.13")
"""


class Workshop:
    """A folder with stand-ins, in which nothing of the machine's own Pythons and settings is to be seen."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "lock.txt"
        self.lock.write_text("thing==1.0\n")
        (folder / "uv.txt").write_text("uv==0.13.8 \\\n    --hash=sha256:0\n")
        self.environment = Environment(folder / "home" / "env", self.lock)
        for name in ("calls.txt", "faults.txt", "pip.txt"):
            (folder / name).touch()
        self.reports: list[tuple[str, float]] = []

    def program(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{REAL_PYTHON} -I\n{STAND_IN}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def fault(self, part_of_call: str, text: str) -> None:
        (self.folder / "faults.txt").write_text(f"{part_of_call} => {text}\n")

    def no_fault(self) -> None:
        (self.folder / "faults.txt").write_text("")

    def calls(self) -> list[str]:
        """What was called since the last time, without paths and questions."""
        questions = (" -c ", "--version", " config ", "--dry-run")
        lines = (self.folder / "calls.txt").read_text().splitlines()
        (self.folder / "calls.txt").write_text("")
        return [line for line in lines if not any(question in line for question in questions)]

    def install(self, cancelled=lambda: False, project: Path | None = None) -> None:
        self.environment.install(self.lock, lambda *what: self.reports.append(what), cancelled, project)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    shop = Workshop(tmp_path)
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_", "SSL_", "HTTPS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("STAND_IN", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "other-pyenv" / "3.11.7"))
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 0, 10**12))
    return shop


@pytest.fixture
def ready(shop: Workshop) -> Workshop:
    shop.program(shop.folder / "bin" / "python3.13")
    shop.install()
    assert shop.environment.state is EnvironmentState.ready
    shop.calls()
    return shop


def fail(shop: Workshop) -> UserError:
    with pytest.raises(UserError) as caught:
        shop.install()
    return caught.value


def test_a_first_installation_brings_uv_and_python_and_packages_in_this_order(shop: Workshop) -> None:
    shop.program(shop.folder / "bin" / "python3.13")
    assert shop.environment.state is EnvironmentState.missing
    shop.install(project=shop.folder)
    words = [" ".join(call.split()[:4]) for call in shop.calls()]
    env = shop.environment.folder
    assert words == [
        "python3.13 -m venv --clear",
        "python -m pip install",
        "uv venv --clear --python",
        "uv pip sync --require-hashes",
        "uv pip install --python",
    ]
    assert shop.environment.state is EnvironmentState.ready
    assert shop.environment.python == env / "bin" / "python"
    fractions = [fraction for _, fraction in shop.reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


def test_a_ready_environment_is_left_alone(ready: Workshop) -> None:
    ready.install()
    assert ready.calls() == []


def test_another_lock_makes_it_outdated_and_only_the_packages_are_synced(ready: Workshop) -> None:
    ready.lock.write_text("thing==2.0\n")
    assert ready.environment.state is EnvironmentState.outdated
    assert Environment(ready.environment.folder).state is EnvironmentState.ready
    ready.install()
    (only,) = ready.calls()
    assert only.startswith("uv pip sync") and only.endswith(str(ready.lock))
    assert ready.environment.state is EnvironmentState.ready


def test_an_environment_that_was_moved_has_to_be_made_again(ready: Workshop) -> None:
    moved = ready.environment.folder.rename(ready.folder / "elsewhere")
    assert Environment(moved, ready.lock).state is EnvironmentState.outdated


def test_an_environment_whose_python_is_gone_is_made_again(ready: Workshop) -> None:
    ready.environment.python.unlink()
    assert ready.environment.state is EnvironmentState.incomplete
    ready.install()
    assert [call.split()[1] for call in ready.calls()] == ["venv", "pip"]
    assert ready.environment.state is EnvironmentState.ready


@pytest.mark.parametrize(
    ("printed", "code"),
    [
        ("error: dns error: Temporary failure in name resolution", "network"),
        ("error: error sending request / invalid peer certificate: UnknownIssuer", "certificate"),
        ("error: No space left on device (os error 28)", "disk"),
        ("error: Permission denied (os error 13)", "permission"),
        ("error: thing==1.0 has no wheel for this platform", "install"),
    ],
)
def test_a_failure_leaves_it_incomplete_says_why_and_the_next_run_finishes(
    ready: Workshop, printed: str, code: str
) -> None:
    ready.lock.write_text("thing==2.0\n")
    ready.fault("pip sync", printed)
    error = fail(ready)
    assert error.code == code and error.why and error.fix
    assert ready.environment.state is EnvironmentState.incomplete
    ready.no_fault()
    ready.install()
    assert ready.environment.state is EnvironmentState.ready


def test_an_unknown_failure_shows_the_programs_own_words(ready: Workshop) -> None:
    ready.lock.write_text("thing==2.0\n")
    ready.fault("pip sync", "thing==2.0 has no wheel for this platform")
    assert "thing==2.0 has no wheel for this platform" in fail(ready).sentence()


def test_cancelling_ends_the_program_and_leaves_it_incomplete(ready: Workshop) -> None:
    ready.lock.write_text("thing==2.0\n")
    ready.fault("pip sync", "hang")
    syncing = lambda: "pip sync" in (ready.folder / "calls.txt").read_text()  # noqa: E731
    with pytest.raises(Cancelled):
        ready.install(cancelled=syncing)
    assert ready.environment.state is EnvironmentState.incomplete


def test_a_second_installation_is_refused_while_one_is_at_work(ready: Workshop) -> None:
    ready.lock.write_text("thing==2.0\n")
    second: list[UserError] = []

    def try_again() -> bool:
        if not second:
            second.append(fail(ready))
        return False

    ready.install(cancelled=try_again)
    assert second[0].code == "busy"
    assert ready.environment.state is EnvironmentState.ready


def test_too_little_disk_is_told_before_anything_is_made(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(10**12, 0, environment_module.MINIMUM_FREE_BYTES - 1))
    error = fail(shop)
    assert error.code == "disk" and "10 GB" in error.why
    assert shop.environment.state is EnvironmentState.missing
    assert shop.calls() == []


def test_a_folder_with_other_things_in_it_is_not_touched(shop: Workshop) -> None:
    precious = shop.environment.folder / "holiday.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("sun")
    assert fail(shop).code == "folder"
    assert precious.read_text() == "sun" and shop.calls() == []


def test_without_any_python_it_says_so(shop: Workshop) -> None:
    error = fail(shop)
    assert error.code == "no_python" and "venv" in error.fix


def test_without_python_313_uv_is_asked_for_one(shop: Workshop) -> None:
    shop.program(shop.folder / "bin" / "python3")
    shop.fault("-I -c", "I am another version")
    assert find_python() is None
    shop.install()
    calls = shop.calls()
    assert any(call.startswith("uv python install 3.13") for call in calls)
    assert any("venv --clear --python /somewhere/python3.13" in call for call in calls)


def test_without_python_313_anywhere_it_says_what_to_install(shop: Workshop) -> None:
    shop.program(shop.folder / "bin" / "python3")
    (shop.folder / "faults.txt").write_text("-I -c => other version\npython install => dns error\n")
    error = fail(shop)
    assert error.code == "no_python" and "3.13" in error.what and "3.13" in error.fix
    assert shop.environment.state is EnvironmentState.missing


def test_without_a_network_uv_cannot_be_fetched_and_nothing_else_was_made(shop: Workshop) -> None:
    shop.program(shop.folder / "bin" / "python3.13")
    shop.fault("pip install", "NewConnectionError: Temporary failure in name resolution")
    assert fail(shop).code == "network"
    assert shop.environment.state is EnvironmentState.missing


def test_a_python_that_only_prints_an_error_is_passed_over_for_pyenvs(shop: Workshop) -> None:
    shim = shop.program(shop.folder / "bin" / "python3.13")
    shim.write_text("#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n")
    versions = shop.folder / "pyenv" / "versions"
    for version in ("3.12.9", "3.13.2", "3.13.10", "3.13.11t"):
        shop.program(versions / version / "bin" / "python3.13")
    assert find_python() == versions / "3.13.10" / "bin" / "python3.13"


def test_a_python_beside_the_one_that_runs_is_found(shop: Workshop) -> None:
    beside = shop.program(shop.folder / "other-pyenv" / "3.13.4" / "bin" / "python3.13")
    assert find_python() == beside


def test_pips_own_index_and_certificate_are_handed_to_uv(ready: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = "global.index-url='file:///mirror'\n:env:.cert='/from/variable.pem'\ninstall.cert='/from/file.pem'\n"
    (ready.folder / "pip.txt").write_text(settings + "global.extra-index-url='file:///other'\n")
    tools = ready.environment.folder.with_name("env-uv") / "bin" / "python"
    environ = uv.uv_environ(tools)
    assert environ["UV_DEFAULT_INDEX"] == "file:///mirror"
    assert environ["SSL_CERT_FILE"] == "/from/variable.pem"
    assert "file:///other" not in environ.values()
    monkeypatch.setenv("UV_INDEX_URL", "file:///own")
    assert "UV_DEFAULT_INDEX" not in uv.uv_environ(tools)


def test_other_pythons_get_no_python_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/wrong")
    monkeypatch.setenv("PythonHome", "/wrong")
    monkeypatch.setenv("SSL_CERT_FILE", "/right")
    environ = child_environ()
    assert "/wrong" not in environ.values() and environ["SSL_CERT_FILE"] == "/right"


def test_run_gives_the_output_and_raises_on_failure() -> None:
    lines: list[str] = []
    assert run([sys.executable, "-c", "print('a'); print('b')"], on_line=lines.append).split() == ["a", "b"]
    assert [line for line in lines if line] == ["a", "b"]
    with pytest.raises(CommandFailed) as caught:
        run([sys.executable, "-c", "import sys; sys.exit('too bad')"])
    assert "too bad" in caught.value.output
    with pytest.raises(CommandFailed):
        run(["/no/such/program"])


def test_run_ends_the_program_when_cancelled() -> None:
    numbers: list[str] = []
    with pytest.raises(Cancelled):
        command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
        run(command, cancelled=lambda: any(numbers), on_line=numbers.append)
    (number,) = filter(None, numbers)
    with pytest.raises(ProcessLookupError):
        os.kill(int(number), 0)


def test_progress_names_the_largest_and_never_goes_back(tmp_path: Path) -> None:
    reports: list[tuple[str, float]] = []
    progress = SyncProgress(lambda *what: reports.append(what), tmp_path)
    for line in (
        "Resolved 3 packages in 7ms",
        "Downloading small (10.0KiB)",
        " Downloaded small",
        "Downloading torch (1.0GiB)",
        "Downloading numpy (20.5MiB)",
        "",
        " Downloaded torch",
        " Downloaded numpy",
        "Prepared 3 packages in 1s",
    ):
        progress.line(line)
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] < 1
    assert any(text.startswith("Downloading: torch, numpy") for text, _ in reports)
    assert reports[-1][0] == "Installing 3 packages"
