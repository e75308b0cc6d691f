"""A click with the mouse: what the operator takes from the viewport, and how it waits beside the window.

There is no window here. The operator's functions run on a stand-in of the operator, with a region and a timer that
only pretend; the backend is the fake of test_backend_flow.
"""

from __future__ import annotations

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.support import addon
from tests.blender.test_backend_flow import CLUSTER, PLACES, fake_backend, selected, session, splat, trained
from tests.blender.views import HEIGHT, WIDTH, Eye, camera_matrices, region_pixel

__all__ = ["fake_backend", "splat", "trained"]  # fixtures


class Clicked:
    """The click operator without Blender's part of it."""

    object, similarity, scale, threshold, mode, box, x2, y2 = "", True, -1.0, -1.0, "SET", False, 0, 0

    def __init__(self, **given: object) -> None:
        self.reports: list[tuple[set[str], str]] = []
        self.properties = SimpleNamespace(
            is_property_set=lambda name: name in given, bl_rna=SimpleNamespace(properties=())
        )
        for name, value in given.items():
            setattr(self, name, value)
        for name, function in vars(addon("ui.select_ops").SAGA_OT_click).items():
            if callable(function):
                setattr(self, name, function.__get__(self))

    def report(self, kind: set[str], text: str) -> None:
        self.reports.append((kind, text))


class Window:
    """A viewport with a camera's view, and the timers that run in its window."""

    def __init__(self) -> None:
        self.view, projection = camera_matrices(Eye())
        self.projection = projection
        self.timers = 0
        manager = SimpleNamespace(
            event_timer_add=self._add, event_timer_remove=self._remove, modal_handler_add=lambda operator: None
        )
        self.context = SimpleNamespace(
            region_data=SimpleNamespace(view_matrix=self.view, window_matrix=projection),
            region=SimpleNamespace(width=WIDTH, height=HEIGHT),
            scene=bpy.context.scene,
            view_layer=bpy.context.view_layer,
            space_data=None,
            window_manager=manager,
            window=None,
        )

    def _add(self, seconds: float, window: object) -> str:
        self.timers += 1
        return "timer"

    def _remove(self, timer: str) -> None:
        self.timers -= 1

    def click(self, point: np.ndarray, **given: object) -> tuple[Clicked, set[str]]:
        """Press the mouse at a point and let the timer tick until the operator has ended."""
        x, y = region_pixel(Vector(point), self.view, self.projection)
        operator = Clicked(**given)
        result = operator.invoke(self.context, SimpleNamespace(mouse_region_x=x, mouse_region_y=y))
        while result & {"RUNNING_MODAL", "PASS_THROUGH"}:
            session().link.backend.wait(operator._sent.query.request.job)
            result = operator.modal(self.context, SimpleNamespace(type="TIMER"))
        return operator, result


def test_click_with_the_settings_of_the_sidebar(trained: bpy.types.Object) -> None:
    window = Window()
    operator, result = window.click(PLACES[1])
    assert result == {"FINISHED"} and window.timers == 0
    np.testing.assert_array_equal(selected(trained), CLUSTER == 1)
    assert operator.reports[0][0] == {"INFO"}
    bpy.context.scene.saga.mode = "ADD"
    window.click(PLACES[2])
    np.testing.assert_array_equal(selected(trained), CLUSTER != 0)


def test_a_key_of_the_tool_wins_over_the_sidebar(trained: bpy.types.Object) -> None:
    window = Window()
    window.click(PLACES[1])
    window.click(PLACES[0], mode="ADD")  # Shift
    np.testing.assert_array_equal(selected(trained), CLUSTER != 2)
    window.click(PLACES[1], mode="SUBTRACT")  # Ctrl
    np.testing.assert_array_equal(selected(trained), CLUSTER == 0)


def test_scale_of_the_sidebar_is_sent_unless_it_is_automatic(trained: bpy.types.Object) -> None:
    window, settings = Window(), bpy.context.scene.saga
    settings.scale = 0.3
    assert window.click(PLACES[1])[0].scale == -1.0
    assert settings.scale == 0.5  # the backend's choice
    settings.scale_auto, settings.scale = False, 0.75
    assert window.click(PLACES[1])[0].scale == 0.75
    assert settings.scale == 0.75


def test_other_events_go_on_to_the_window(trained: bpy.types.Object) -> None:
    window = Window()
    x, y = region_pixel(Vector(PLACES[1]), window.view, window.projection)
    operator = Clicked()
    event = SimpleNamespace(mouse_region_x=x, mouse_region_y=y)
    assert operator.invoke(window.context, event) == {"RUNNING_MODAL"}
    assert operator.modal(window.context, SimpleNamespace(type="MOUSEMOVE")) == {"PASS_THROUGH"}
    assert not selected(trained).any()  # not before the answer is there


def test_escape_gives_the_click_up(trained: bpy.types.Object) -> None:
    window = Window()
    x, y = region_pixel(Vector(PLACES[1]), window.view, window.projection)
    operator = Clicked()
    operator.invoke(window.context, SimpleNamespace(mouse_region_x=x, mouse_region_y=y))
    assert operator.modal(window.context, SimpleNamespace(type="ESC")) == {"RUNNING_MODAL"}  # not to the tool as well
    session().link.backend.wait(operator._sent.query.request.job)
    result = operator.modal(window.context, SimpleNamespace(type="TIMER"))
    assert window.timers == 0
    # The cancel may come too late: then the click has its ordinary end.
    assert result == ({"CANCELLED"} if not selected(trained).any() else {"FINISHED"})


def test_another_file_while_a_click_is_under_way(trained: bpy.types.Object) -> None:
    window = Window()
    x, y = region_pixel(Vector(PLACES[1]), window.view, window.projection)
    operator = Clicked()
    operator.invoke(window.context, SimpleNamespace(mouse_region_x=x, mouse_region_y=y))
    assert window.timers == 1
    operator.cancel(window.context)  # what Blender calls
    assert window.timers == 0 and operator._sent.query.request.job.cancelling


def test_click_outside_of_a_viewport_is_one_report(trained: bpy.types.Object) -> None:
    window = Window()
    window.context.region_data = None
    operator = Clicked()
    assert operator.invoke(window.context, SimpleNamespace(mouse_region_x=1, mouse_region_y=1)) == {"CANCELLED"}
    assert [kind for kind, _ in operator.reports] == [{"ERROR"}] and window.timers == 0


def test_backend_that_is_gone_ends_the_click(trained: bpy.types.Object) -> None:
    window = Window()
    x, y = region_pixel(Vector(PLACES[1]), window.view, window.projection)
    operator = Clicked()
    operator.invoke(window.context, SimpleNamespace(mouse_region_x=x, mouse_region_y=y))
    session().link.stop()
    assert operator.modal(window.context, SimpleNamespace(type="TIMER")) <= {"CANCELLED", "FINISHED"}
    assert window.timers == 0


@pytest.mark.parametrize("index", range(3))
def test_adjust_last_operation_repeats_the_click(trained: bpy.types.Object, index: int) -> None:
    operator, _ = Window().click(PLACES[index])
    repeated = {
        name: getattr(operator, name) for name in ("view_matrix", "projection_matrix", "width", "height", "x", "y")
    }
    addon("scene.splat.point_cloud").set_selection(trained, np.zeros(60, bool))
    bpy.ops.saga.click(**repeated)
    np.testing.assert_array_equal(selected(trained), index == CLUSTER)
