"""The Install button, with an environment that only pretends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from tests.blender.support import addon, compiled
from tests.blender.test_bad_input import refused


@pytest.fixture(autouse=True)
def online() -> Iterator[None]:
    bpy.context.preferences.system.use_online_access = True
    yield
    bpy.context.preferences.system.use_online_access = False


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Make the next installation do what a function says; what was installed is only noted, not tried out."""

    def use(work: Callable) -> list:
        tried = []

        def install(report: Callable, cancelled: Callable, trial: Callable) -> None:
            work(report, cancelled)
            trial(Path("python"))(report, cancelled)

        fake = SimpleNamespace(install=install, holds=lambda python: None)
        monkeypatch.setattr(addon("ui.backend_ops"), "environment", lambda: fake)
        trying = lambda launch: lambda report, cancelled: tried.append(launch)  # noqa: E731
        monkeypatch.setattr(addon("ui.backend_ops"), "prepare", trying)
        return tried

    return use


def test_install_waits_for_the_end_when_a_script_calls_it(pretend: Callable) -> None:
    done = []
    tried = pretend(lambda report, cancelled: done.append(report("Fetching torch", 0.5)))
    assert bpy.ops.saga.backend_install() == {"FINISHED"}
    assert done and addon("scene.state.session").downloads.installation.text == "Fetching torch"
    assert [launch.python for launch in tried] == [Path("python")]
    assert tried[0].cache_dir == compiled(addon("scene.state.launch").backend_folder())


def test_install_that_fails_is_one_sentence(pretend: Callable) -> None:
    def work(report: Callable, cancelled: Callable) -> None:
        raise addon("errors").UserError("There is not enough free disk space", "1 GB is free", "Free some space")

    pretend(work)
    refused(lambda: bpy.ops.saga.backend_install(), "not enough free disk space: 1 GB is free. Free some space")


def test_install_beside_the_window_can_be_cancelled(pretend: Callable) -> None:
    begun = threading.Event()

    def work(report: Callable, cancelled: Callable) -> None:
        report("Fetching torch", 0.5)
        begun.set()
        while not cancelled():
            pass
        raise addon("errors").Cancelled("install")

    pretend(work)
    assert bpy.ops.saga.backend_install(wait=False) == {"FINISHED"}
    assert begun.wait(30)
    refused(lambda: bpy.ops.saga.backend_install(), "already running")
    assert bpy.ops.saga.cancel() == {"FINISHED"}
    installation = addon("scene.state.session").downloads.installation
    with pytest.raises(addon("errors").Cancelled):
        installation.wait()
    assert not installation.running


def test_requirements_are_those_in_the_zip() -> None:
    assert addon("scene.state.paths").REQUIREMENTS.read_text().strip()
