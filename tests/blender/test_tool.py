"""The tool: its keys, its hint, what it may not collide with."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import pytest

from tests.blender.support import addon


def test_every_key_of_the_tool_calls_what_exists() -> None:
    for idname, _, more in addon("ui.tool").SelectTool.bl_keymap:
        group, name = idname.split(".")
        kind = getattr(getattr(bpy.ops, group), name).get_rna_type()
        for key, value in (more or {}).get("properties", []):
            assert key in kind.properties, (idname, key)
            if kind.properties[key].type == "ENUM":
                assert value in [item.identifier for item in kind.properties[key].enum_items]


def test_no_two_actions_share_a_key() -> None:
    keys = [tuple(sorted(keys.items())) for _, keys, _ in addon("ui.tool").SelectTool.bl_keymap]
    assert len(set(keys)) == len(keys)


def test_hint_names_every_action() -> None:
    hint = addon("ui.tool").HINT
    for word in ("Click", "Shift", "Ctrl", "Drag", "Ctrl Alt Wheel", "[", "]", "Enter", "Esc"):
        assert word in hint


@pytest.mark.parametrize("active", [True, False])
def test_hint_is_shown_while_the_tool_is_active(active: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, shown = addon("ui.tool"), []
    workspace = SimpleNamespace(name="Layout", status_text_set=shown.append)
    context = SimpleNamespace(
        mode="OBJECT", window_manager=SimpleNamespace(windows=[SimpleNamespace(workspace=workspace)])
    )
    monkeypatch.setattr(tool, "bpy", SimpleNamespace(context=context))
    monkeypatch.setattr(tool, "is_active", lambda *_: active)
    tool._watch()
    tool._watch()
    assert shown == ([tool.HINT] if active else [])
    monkeypatch.setattr(tool, "is_active", lambda *_: False)
    tool._watch()
    assert shown == ([tool.HINT, None] if active else [])


def test_nothing_listens_once_the_extension_is_off() -> None:
    pump, registration = addon("scene.state.timer"), addon("ui.registration")
    before = len(pump.watchers)
    registration.unregister()
    assert pump.watchers == [] and addon("scene.state.properties").listeners == []
    registration.register()
    assert len(pump.watchers) == before
