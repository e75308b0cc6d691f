"""A model that knows levels: a switch in the place of the slider, also in the header; the wheel changes it."""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import PLACES, fake_backend, session, splat
from tests.blender.test_panels import Layout
from tests.blender.test_refine import sent
from tests.blender.views import click

__all__ = ["fake_backend", "splat"]  # fixtures


class Watching(Layout):
    """A layout that also writes down which properties are drawn."""

    def __init__(self, parent: Watching | None = None) -> None:
        super().__init__(parent)
        self.drawn: list[str] = parent.drawn if isinstance(parent, Watching) else []

    def row(self, **_: object) -> Watching:
        return Watching(self)

    column = grid_flow = row

    def prop(self, owner: object, name: str, **_: object) -> None:
        super().prop(owner, name)
        self.drawn.append(name)

    def prop_enum(self, owner: object, name: str, value: str) -> None:
        assert value in owner.bl_rna.properties[name].enum_items
        self.drawn.append(f"{name} {value}")


@pytest.fixture
def two_levels(splat: bpy.types.Object) -> bpy.types.Object:
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(steps=5, method="CLICK-GAUSSIAN") == {"FINISHED"}
    return splat


def drawn() -> tuple[list[str], list[str]]:
    """What the panel and the tool's header draw."""
    panel, header = Watching(), Watching()
    kind = addon("ui.select_panels").SAGA_PT_select
    kind.draw(SimpleNamespace(layout=panel, _draw_clicks=lambda _: None), bpy.context)
    addon("ui.tool").SelectTool.draw_settings(bpy.context, header, None)
    return panel.drawn, header.drawn


def test_the_switch_takes_the_sliders_place(two_levels: bpy.types.Object) -> None:
    assert two_levels.saga.levels == 2
    for names in drawn():
        assert {"level COARSE", "level FINE"} <= set(names)
        assert not {"scale", "scale_auto", "level MIDDLE"} & set(names)
    bpy.ops.saga.train(steps=5)
    assert two_levels.saga.levels == 0
    for names in drawn():
        assert "scale_auto" in names and not any(name.startswith("level") for name in names)


def test_three_levels_have_one_in_the_middle(two_levels: bpy.types.Object) -> None:
    session().models.levels[two_levels.saga.fingerprint] = 3
    for names in drawn():
        assert [n for n in names if n.startswith("level")] == ["level COARSE", "level MIDDLE", "level FINE"]


def test_a_click_asks_for_the_level(two_levels: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    live, settings = addon("scene.requests.requery"), bpy.context.scene.saga
    for level, scale in (("COARSE", 1.0), ("FINE", 0.0)):
        settings.level = level
        assert live.chosen(settings, 2)[0] == scale
    assert live.chosen(settings, 0)[0] == -1.0  # automatic, as before


def test_the_wheel_changes_the_level_and_asks_again(
    two_levels: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, settings = sent(monkeypatch), bpy.context.scene.saga
    click(Vector(PLACES[0]))
    asked = []
    for step in (-0.05, -0.05, 0.05, 0.05):
        bpy.ops.saga.scale_step(step=step)
        asked.append(settings.level)
    assert asked == ["FINE", "FINE", "COARSE", "COARSE"]
    assert [m.options.scale for m in messages[1:]] == [0.0, 0.0, 1.0, 1.0]


def test_another_run_of_blender_still_knows(two_levels: bpy.types.Object) -> None:
    """The record is in the .blend; once the model is loaded the backend says so too."""
    session().models.levels.clear()
    assert addon("scene.requests.lookup").granularity(two_levels) == 2
    bpy.ops.saga.backend_stop()
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[0]))
    assert session().models.levels[two_levels.saga.fingerprint] == 2
