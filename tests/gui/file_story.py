"""Files in the window of a real Blender, whose Python is another one than the tests': its own zstd, no Pillow."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import numpy as np

from tests.gui.driver import Steps, Window, addon

COUNTS = {
    "guitar.compressed.ply": 90_854,
    "playbot_sh2.sog": 31_000,
    "playbot.splat": 31_000,
    "formats/minimal.ksplat": 4,
    "formats/minimal-v2.spz": 4,
    "formats/test-splat.3-points-from-train.spz": 3,
    "formats/khr_conformance_matrix.glb": 15,
}


def every_format(window: Window) -> Steps:
    """Import each shared file, drop two at once, write every format and read it again, see the entries in the menus."""
    registry, data = addon("gaussians.formats.registry"), Path(os.environ["SAGA_DATA"], "splats")
    bpy.ops.object.select_all(action="SELECT")
    bpy.ops.object.delete()
    for name, count in COUNTS.items():
        assert bpy.ops.saga.import_splat(filepath=str(data / name)) == {"FINISHED"}
        obj = bpy.context.view_layer.objects.active
        assert len(obj.data.points) == count, name
        if count < 31_000:
            bpy.data.objects.remove(obj)
        yield window.redrawn()

    yield from _drop(window, data / "formats")
    bpy.ops.object.select_all(action="DESELECT")
    playbot = bpy.data.objects["playbot_sh2"]
    playbot.select_set(True)
    bpy.context.view_layer.objects.active = playbot
    playbot.rotation_euler = (0.3, 0.2, 0.1)
    with window.context():
        assert bpy.ops.saga.apply_transform() == {"FINISHED"}
    endings = [kind.suffixes[0] for kind in registry.FORMATS if kind.write]
    for ending in endings:
        path = window.out / f"out{ending}"
        assert bpy.ops.saga.export_splat(filepath=str(path)) == {"FINISHED"}
        assert len(registry.read_splat(path).cloud) == 31_000
        yield None
    four = window.out / "four.spz"
    registry.write_splat(four, registry.read_splat(window.out / "out.ply").cloud, registry.WriteOptions(spz_version=4))
    assert registry.read_splat(four).version == "4"
    with window.context():
        bpy.ops.wm.call_menu(name="VIEW3D_MT_object_apply")
    yield from window.shot("2_apply_menu")
    window.key("ESC")
    yield from window.shot("3_after")
    yield from _dialogs(window)
    yield from _join(window, playbot)


def _drop(window: Window, folder: Path) -> Steps:
    """Two files, as Blender calls it when they are dropped: a popup with the options, and Enter."""
    before, two = len(bpy.data.objects), [{"name": "minimal-v2.spz"}, {"name": "minimal-v3.spz"}]
    with window.context():
        bpy.ops.saga.import_splat("INVOKE_DEFAULT", directory=f"{folder}/", files=two)
    yield from window.shot("1_dropped")
    window.key("RET")
    yield lambda: len(bpy.data.objects) == before + 2


def _dialogs(window: Window) -> Steps:
    """The options beside the files, as they open and for another format."""
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    for name, operator, options in (
        ("4_import", bpy.ops.saga.import_splat, {}),
        ("5_export_ply", bpy.ops.saga.export_splat, {}),
        ("6_export_spz", bpy.ops.saga.export_splat, {"format": "SPZ"}),
    ):
        with window.context():
            operator("INVOKE_DEFAULT", **options)
        yield lambda: not _has_viewport(window)
        for _ in range(20):
            yield None
        window.grab(name)
        browser = max(window.window.screen.areas, key=lambda area: area.width * area.height)
        window.move(browser.x + browser.width // 2, browser.y + browser.height // 2)
        yield None
        window.key("ESC")
        yield lambda: _has_viewport(window)
        yield window.redrawn()


def _has_viewport(window: Window) -> bool:
    return any(area.type == "VIEW_3D" for area in window.window.screen.areas)


def _join(window: Window, splat: bpy.types.Object) -> Steps:
    """Ctrl J joins splats as they stand, and meshes as ever."""
    region, objects = window.region(), bpy.context.view_layer.objects
    addon("scene.splat.point_cloud").set_selection(splat, np.arange(31_000) < 5_000)
    bpy.ops.saga.split(object=splat.name)
    part = objects.active
    part.rotation_euler, part.location = (0, 0, 1), (0.5, 0, 0)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.mesh.primitive_cube_add(location=(3, 0, 0))
    cubes = [bpy.data.objects[name] for name in ("Cube", "Cube.001")]
    yield window.redrawn()
    for chosen, kept in ((cubes, cubes[0]), ((splat, part), splat)):
        bpy.ops.object.select_all(action="DESELECT")
        for obj in chosen:
            obj.select_set(True)
        objects.active = kept
        count = len(bpy.data.objects)
        window.move(region.x + region.width // 2, region.y + region.height // 2)
        yield window.redrawn()
        window.key("J", ctrl=True)
        yield lambda count=count: len(bpy.data.objects) == count - 1
        yield window.redrawn()
    assert len(cubes[0].data.vertices) == 16
    assert len(splat.data.points) == 31_000
    last = addon("scene.splat.point_cloud").positions(splat)[-5_000:]
    assert np.abs(last).max() > 1.2  # the part stays turned and moved away
