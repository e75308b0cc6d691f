"""Files in the window of a real Blender, whose Python is another one than the tests': its own zstd, no Pillow."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
from driver import Steps, Window, addon

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

    before, two = len(bpy.data.objects), [{"name": "minimal-v2.spz"}, {"name": "minimal-v3.spz"}]
    with window.context():  # what Blender calls when files are dropped: a popup with the options, and Enter
        bpy.ops.saga.import_splat("INVOKE_DEFAULT", directory=str(data / "formats") + "/", files=two)
    yield from window.shot("1_dropped")
    window.key("RET")
    yield lambda: len(bpy.data.objects) == before + 2

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
