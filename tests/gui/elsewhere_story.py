"""A backend on another machine, as an artist meets it: `serve` runs outside the window's system, at a loopback port.

`serve.json` in the scenario's folder has the address and the key that it has printed.
"""

from __future__ import annotations

import json

import bpy
import numpy as np

from tests.gui import story
from tests.gui.driver import PACKAGE, Steps, Window, addon

_STEPS, _VIEWS = 60, 12
_IDLE = 20  # steps of the timer, where no viewport is there whose redraws could be counted


def pictures(window: Window) -> Steps:
    """From the preferences to a click, with a picture of each; then the tunnel's end is gone."""
    session = addon("scene.state.session")
    yield from _preferences(window)
    yield from story.import_splat(window)
    with window.context():
        bpy.ops.screen.screen_full_area()
    yield window.redrawn()
    yield from window.sidebar("SAGA")
    yield from window.shot("elsewhere_connect")
    yield from story.train(window, _STEPS, _VIEWS, "elsewhere_train")
    assert session.link.backend.remote is not None and session.link.backend.welcome.machine
    path = addon("scene.requests.lookup").trained_model(bpy.data.objects["scene"])
    assert path == str(window.out / "scene.saga") and (window.out / "scene.saga").stat().st_size > 10_000

    thing = np.load(window.out / "labels.npy") == 2
    with window.context():
        bpy.ops.wm.tool_set_by_id(name=addon("ui.tool").IDNAME)
    yield from window.click(*story.aim(window, thing))
    yield story.answered(window)
    assert story.selected().any()
    yield from window.shot("elsewhere")

    with window.context():
        bpy.ops.saga.backend_stop()
    preferences = addon("scene.state.launch").preferences()
    preferences.remote_key = "00" * 32
    with window.context():
        bpy.ops.saga.backend_start("INVOKE_DEFAULT")
    yield lambda: session.link.backend.error
    assert "the key in the preferences does not match the backend" in session.link.backend.error
    yield from window.shot("elsewhere_refused")


def _preferences(window: Window) -> Steps:
    """In the place of the viewport, as guide.py does it."""
    served = json.loads((window.out / "serve.json").read_text())
    area, preferences = window.area, bpy.context.preferences
    own = preferences.addons[PACKAGE].preferences
    own.backend_where, own.remote_address, own.remote_key = "ELSEWHERE", served["address"], served["key"]
    bpy.context.window_manager.addon_search = "saga"
    area.type, preferences.active_section = "PREFERENCES", "ADDONS"
    bpy.ops.preferences.addon_expand(module=PACKAGE)
    with bpy.context.temp_override(window=window.window, area=area):
        bpy.ops.saga.backend_start("INVOKE_DEFAULT")
    backend = addon("scene.state.session").link.backend
    yield lambda: backend.welcome is not None or backend.error
    assert not backend.error, backend.error
    for _ in range(_IDLE):
        area.tag_redraw()
        yield None
    window.grab("elsewhere_preferences")
    area.type = "VIEW_3D"
    yield window.redrawn()
