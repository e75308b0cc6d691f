"""Runs inside the real Blender: carries out a scenario step by step between the redraws of the window.

A scenario is a generator function that gets a `Window`. It yields None to let the window draw once, or a condition to
wait for. Its last words go to a file: "ok", or the traceback of what went wrong.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Vector

PACKAGE = "bl_ext.user_default.blender_saga"
_INTERVAL = 0.05  # seconds between two looks at a condition
_LIMIT = 600.0  # seconds that a condition may take to become true: no GPU, shared with others; a hang, not a pace

Condition = Callable[[], object]
Steps = Generator[Condition | None, None, None]


def addon(name: str) -> ModuleType:
    """A module of the installed extension, by its name below the package."""
    return importlib.import_module(f"{PACKAGE}.{name}" if name else PACKAGE)


class Window:
    """The first window: where things are in it, and events as if from a mouse and a keyboard.

    Attributes:
        out: folder for screenshots and files.
        draws: how often the 3D viewport was drawn.
    """

    def __init__(self, out: Path) -> None:
        self.out, self.draws, self._mouse = out, 0, (0, 0)
        bpy.types.SpaceView3D.draw_handler_add(self._drawn, (), "WINDOW", "POST_PIXEL")

    def _drawn(self) -> None:
        self.draws += 1

    @property
    def window(self) -> bpy.types.Window:
        """The window itself."""
        return bpy.context.window_manager.windows[0]

    @property
    def area(self) -> bpy.types.Area:
        """The largest 3D viewport."""
        return max((a for a in self.window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)

    def region(self, kind: str = "WINDOW") -> bpy.types.Region:
        """A region of the viewport: WINDOW, UI (the sidebar), TOOLS."""
        return next(r for r in self.area.regions if r.type == kind)

    @property
    def space(self) -> bpy.types.SpaceView3D:
        """The viewport's settings."""
        return self.area.spaces.active

    def context(self) -> object:
        """Run operators as if the mouse were in the viewport."""
        return bpy.context.temp_override(window=self.window, area=self.area, region=self.region())

    def redrawn(self) -> Condition:
        """A condition: the viewport has been drawn twice from now on."""
        wanted = self.draws + 2
        self.area.tag_redraw()

        def look() -> bool:
            self.area.tag_redraw()
            return self.draws >= wanted

        return look

    def pixel(self, point: tuple[float, float, float]) -> tuple[int, int]:
        """Window pixel, from the bottom left, at which a point in world space is drawn."""
        region = self.region()
        at = location_3d_to_region_2d(region, self.space.region_3d, Vector(point))
        assert at is not None, f"{point} is behind the viewer"
        return region.x + round(at.x), region.y + round(at.y)

    def event(self, kind: str, value: str, **held: bool) -> None:
        """An event at the place of the mouse."""
        x, y = self._mouse
        self.window.event_simulate(type=kind, value=value, x=x, y=y, **held)

    def move(self, x: int, y: int) -> None:
        """Move the mouse."""
        self._mouse = (x, y)
        self.event("MOUSEMOVE", "NOTHING")

    def key(self, kind: str, **held: bool) -> None:
        """Press and release a key or a wheel step."""
        self.event(kind, "PRESS", **held)
        if not kind.startswith("WHEEL"):
            self.event(kind, "RELEASE", **held)

    def click(self, x: int, y: int, **held: bool) -> Steps:
        """Move the mouse to a window pixel and click."""
        self.move(x, y)
        yield self.redrawn()
        self.event("LEFTMOUSE", "PRESS", **held)
        self.event("LEFTMOUSE", "RELEASE", **held)

    def drag(self, start: tuple[int, int], end: tuple[int, int], **held: bool) -> Steps:
        """Drag with the left button from one window pixel to another."""
        self.move(*start)
        yield self.redrawn()
        self.event("LEFTMOUSE", "PRESS", **held)
        for i in range(1, 5):
            self.move(*(round(a + (b - a) * i / 4) for a, b in zip(start, end, strict=True)))
            yield self.redrawn()
        self.event("LEFTMOUSE", "RELEASE", **held)

    def sidebar(self, tab: str) -> Steps:
        """Open a tab of the sidebar, wide enough to read."""
        self.space.show_region_ui = True
        yield self.redrawn()
        self.region("UI").active_panel_category = tab
        yield self.redrawn()

    def shot(self, name: str) -> Steps:
        """A picture of the whole screen, once everything is drawn."""
        yield self.redrawn()
        painter, key = addon("viewport.splat_draw").painter, self.region().as_pointer()
        yield lambda: painter.resting(key)  # not only the share that is shown first
        yield self.redrawn()
        self.grab(name)

    def grab(self, name: str) -> None:
        """A picture of the whole screen as it is now."""
        subprocess.run(["import", "-window", "root", str(self.out / f"{name}.png")], check=True)


class Driver:
    """Moves a scenario on from a timer."""

    def __init__(self, steps: Steps, result: Path) -> None:
        self._steps, self._result = steps, result
        self._condition: Condition | None = None
        self._since = time.monotonic()

    def tick(self) -> float | None:
        """One look; the timer ends with the scenario."""
        try:
            ended = self._advance()
        except BaseException:
            return self._end(traceback.format_exc())
        return self._end("ok") if ended else _INTERVAL

    def _advance(self) -> bool:
        """Whether the scenario is over."""
        if self._condition is not None and not self._condition():
            if time.monotonic() - self._since > _LIMIT:
                self._steps.throw(TimeoutError(f"waited {_LIMIT:.0f} s in vain"))  # the traceback shows where
            return False
        try:
            self._condition, self._since = next(self._steps), time.monotonic()
        except StopIteration:
            return True
        return False

    def _end(self, words: str) -> None:
        self._result.write_text(words)
        bpy.ops.wm.quit_blender()


def install(zip_path: str) -> None:
    """Install and enable the extension from its zip."""
    bpy.context.preferences.view.show_splash = False
    bpy.ops.extensions.package_install_files(
        filepath=zip_path, repo="user_default", enable_on_install=True, overwrite=True
    )


def main() -> None:
    """Arguments after "--": name of the scenario, folder for what comes out, the extension's zip."""
    name, out, zip_path = sys.argv[sys.argv.index("--") + 1 :]
    scenarios = os.environ.get("SAGA_SCENARIOS")
    sys.path[:0] = [str(Path(__file__).parents[2]), *filter(None, [scenarios])]
    module, _, function = name.partition(".")
    if not scenarios:
        module = f"tests.gui.{module}"

    def begin() -> None:
        result = Path(out, "result.txt")
        try:
            install(zip_path)
            window = Window(Path(out))
            scenario = getattr(importlib.import_module(module), function)
            driver = Driver(scenario(window), result)
        except BaseException:
            result.write_text(traceback.format_exc())
            bpy.ops.wm.quit_blender()
        else:
            bpy.app.timers.register(driver.tick, first_interval=_INTERVAL, persistent=True)

    bpy.context.preferences.view.show_splash = False
    bpy.app.timers.register(begin, first_interval=1.0, persistent=True)


if __name__ == "__main__":
    main()
