"""Copy Report and the extension's own log: nothing of the user's own leaves, what support needs is there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest

from blender_saga.wire.messages import PROTOCOL_VERSION
from saga_backend import __version__
from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import PACKAGE, addon
from tests.blender.test_backend_flow import fake_backend, splat, trained
from tests.blender.test_bad_input import refused

__all__ = ["fake_backend", "splat", "trained"]  # fixtures


def report() -> str:
    return addon("scene.state.report").report_text()


def log() -> str:
    return addon("scene.state.log").journal.path.read_text()


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A user with secrets everywhere; gives the words that may not leave."""
    home = tmp_path / "home" / "wilhelmina"
    folder = home / "Customer Nightingale"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "wilhelmina")
    good, bad = folder / "marble swan.ply", folder / "burned otter.ply"
    write_inria(good, random_cloud(30, 0))
    bad.write_text("ply\nformat ascii 1.0\ncomment the crown jewels\nelement crownjewels 3\nend_header\n")
    bpy.ops.saga.import_splat(filepath=str(good))
    refused(lambda: bpy.ops.saga.import_splat(filepath=str(bad)), "burned otter")
    bpy.context.active_object.name = "Empress Theodora"
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "golden act.blend"))
    bpy.context.scene.saga.text = "a purple unicorn"
    key = secrets.token_hex(32)
    preferences = addon("scene.state.launch").preferences()
    preferences.remote_key, preferences.clip_weights = "hidden-behind-the-mill", "/data/basilisk weights/clip.pt"
    session = addon("scene.state.session")
    session.status.tell(f"The model {folder}/marble swan.saga cannot be saved", failed=True)
    session.status.tell("Nothing looks like a purple unicorn", failed=True)
    path = addon("scene.state.launch").log_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["the key hidden-behind-the-mill of /data/basilisk weights/clip.pt", f"torch warns of {home}/.cache/x"]
    lines += [f"INFO model saved at {folder}/velvet hammer.saga", f"key {key}"]
    path.write_text("\n".join(lines))
    words = ["wilhelmina", "Nightingale", "swan", "otter", "crown", "Theodora", "golden", "unicorn", "velvet"]
    yield [*words, "mill", "basilisk", key]
    for name in ("remote_key", "clip_weights"):
        preferences.property_unset(name)


def test_nothing_of_the_users_own_leaves(planted: list[str]) -> None:
    text = report()
    assert [word for word in planted if word.lower() in text.lower()] == []
    assert str(Path.home()) not in text
    assert "cannot be saved" in text and "<name" in text  # the sentences themselves stay


def test_it_says_what_support_needs(planted: list[str]) -> None:
    text = report()
    versions = f"Blender {bpy.app.version_string}", f"Extension {__version__}, protocol {PROTOCOL_VERSION}"
    for words in (*versions, "Driver:", "Free space"):
        assert words in text
    assert "saga.import_splat: finished" in text and "SAGA_OT_import_splat" not in text
    assert "torch warns of ~/.cache/x" in text


def test_an_earlier_file_is_remembered(planted: list[str]) -> None:
    """What another file was called still stands in the log after it was closed."""
    bpy.ops.wm.read_homefile(use_empty=True)
    text = report()
    assert [word for word in planted[:5] if word.lower() in text.lower()] == []


def test_a_running_backend_is_described(trained: bpy.types.Object) -> None:
    text = report()
    assert "State: connected" in text and "The backend runs on:" in text
    key = addon("scene.state.session").link.backend._process.key.hex()
    assert key not in text and key not in log()


def test_without_a_window_it_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert bpy.ops.saga.copy_report() == {"FINISHED"}
    printed = capfd.readouterr().out
    assert "Blender SAGA, report for support" in printed and "== Log of the backend ==" in printed


def test_the_log_holds_reports_states_and_bugs(trained: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: bpy.ops.saga.import_splat(filepath=os.fspath(Path("nowhere") / "none.ply")), "none.ply")
    monkeypatch.setattr(addon("scene.state.session"), "poll", lambda: 1 / 0)
    addon("scene.state.timer").pump()
    text = log()
    assert "The backend is connected" in text and "saga.train: finished" in text
    assert "none.ply" in text  # unlike the report: it is the user's own disk
    assert "ZeroDivisionError: division by zero" in text and "Traceback" in text


def test_the_log_ends_and_begins_with_the_extension() -> None:
    before = addon("scene.state.log").journal.path
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=PACKAGE)
        bpy.ops.preferences.addon_enable(module=PACKAGE)
    import logging

    handlers = [h for h in logging.getLogger(PACKAGE).handlers if type(h).__name__ == "BoundedLog"]
    assert len(handlers) == 1 and addon("scene.state.log").journal.path == before


def test_it_is_in_a_menu_where_f3_finds_it() -> None:
    drawn = [entry.__name__ for entry in bpy.types.TOPBAR_MT_help._dyn_ui_initialize()]
    assert "_draw_entry" in drawn
