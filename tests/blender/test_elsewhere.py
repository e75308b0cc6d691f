"""A backend elsewhere, as an artist has it: the installed zip, and `serve` as a process of its own beside it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Vector

from tests.blender.clouds import write_inria
from tests.blender.support import addon
from tests.blender.test_bad_input import refused
from tests.blender.test_end_to_end import PLACES, two_balls
from tests.blender.test_panels import draw
from tests.blender.views import Eye, click
from tests.fakes.served import Served
from tests.fakes.tunnel import Tunnel

EYE = Eye((0, -6, 1.2), (0, 0, 0.5))
SMALL = {"steps": 30, "views": 6, "width": 96, "height": 72}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("torch", reason="needs the backend's packages")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLENDER_SAGA_CHECKPOINT_SECONDS", "0.2")
        served = Served(tmp_path_factory.mktemp("elsewhere"))
    yield served
    if served.process.poll() is None:
        served.end(signal.SIGKILL)


@pytest.fixture
def tunnel(served: Served) -> Iterator[Tunnel]:
    host, _, port = served.address.rpartition(":")
    tunnel = Tunnel((host, int(port)))
    yield tunnel
    tunnel.close()


@pytest.fixture
def chosen(served: Served, tunnel: Tunnel) -> Iterator[object]:
    """The preferences, with the backend elsewhere; afterwards as they were."""
    preferences = addon("scene.state.launch").preferences()
    preferences.backend_where = "ELSEWHERE"
    preferences.remote_address = f"127.0.0.1:{tunnel.address[1]}"
    preferences.remote_key = served.key
    yield preferences
    for name in ("backend_where", "remote_address", "remote_key", "remote_sam_weights", "remote_clip_weights"):
        preferences.property_unset(name)


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    """Two balls in a saved .blend of a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    write_inria(folder / "balls.ply", two_balls()[0])
    bpy.ops.saga.import_splat(filepath=str(folder / "balls.ply"))
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "work.blend"))
    return bpy.context.view_layer.objects.active


def session() -> object:
    return addon("scene.state.session")


def selected(name: str = "balls") -> np.ndarray:
    return addon("scene.splat.point_cloud").selection(bpy.data.objects[name])


def test_train_save_reopen_click(chosen: object, splat: bpy.types.Object, tmp_path: Path, served: Served) -> None:
    assert bpy.ops.saga.backend_start() == {"FINISHED"}
    assert session().link.backend.welcome.machine
    assert bpy.ops.saga.train(**SMALL) == {"FINISHED"}
    model = tmp_path / "project" / "balls.saga"
    assert bpy.data.objects["balls"].saga.model_file == "//balls.saga" and model.stat().st_size > 10_000
    elsewhere = served.log.parent
    assert not list(elsewhere.rglob("*.saga"))  # nothing of it stays there
    click(Vector(PLACES[1]), EYE, scale=0.6)
    first = selected()
    assert first.any() and not first.all()
    bpy.ops.wm.save_mainfile()

    bpy.ops.saga.backend_stop()
    assert served.process.poll() is None
    bpy.ops.wm.read_homefile(use_empty=True)
    session().models.paths.clear()  # another run of Blender
    model.parent.rename(tmp_path / "moved")
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "moved" / "work.blend"))
    bpy.context.view_layer.objects.active = bpy.data.objects["balls"]
    bpy.ops.saga.clear()
    assert not selected().any()
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[1]), EYE, scale=0.6)
    np.testing.assert_array_equal(selected(), first)


def test_a_tunnel_that_is_cut_loses_nothing(
    chosen: object, splat: bpy.types.Object, tunnel: Tunnel, snapshot: Callable
) -> None:
    bpy.ops.saga.backend_start()
    assert bpy.ops.saga.train(method="SEGMENTS", **SMALL) == {"FINISHED"}
    click(Vector(PLACES[0]), EYE, scale=0.6)
    first = selected()
    before = snapshot()
    tunnel.cut()
    while session().link.backend.state.value == "connected":
        session().link.backend._connection.wait(1)
        session().poll()
    refused(lambda: click(Vector(PLACES[1]), EYE), "not connected.*was lost.*Press Reconnect")
    assert snapshot() == before
    bpy.ops.saga.backend_start()
    click(Vector(PLACES[0]), EYE, scale=0.6)
    np.testing.assert_array_equal(selected(), first)


def cut_off(tunnel: Tunnel, served: Served, kept: Path, steps: int) -> bool:
    """Cut the tunnel under a training that has been kept; False: it came to its end before anybody could.

    The server is through with it either way.
    """
    bpy.ops.saga.backend_start()
    ended = lambda: len(re.findall("Train .* (?:was cancelled|failed with a bug)", served.log.read_text()))  # noqa: E731
    before, pause = ended(), threading.Event()
    bpy.ops.saga.train(**{**SMALL, "steps": steps}, wait=False)
    training = session().trainings.request
    while not training.ended and not list(kept.rglob("features*.safetensors")):
        session().link.backend._connection.wait(0.05)
        session().poll()
    tunnel.cut()
    while not training.ended:
        session().link.backend._connection.wait(1)
        session().poll()
    while ended() == before and list(kept.glob("*")):  # one that ends well removes what was kept
        pause.wait(0.02)
    return bool(list(kept.glob("*")))


def test_a_training_that_was_cut_off_goes_on(
    chosen: object, splat: bpy.types.Object, tunnel: Tunnel, served: Served
) -> None:
    kept = served.log.parent / "cache" / "blender_saga" / "trainings"
    assert any(cut_off(tunnel, served, kept, steps) for steps in (2_000, 8_000, 32_000)), session().status.message
    assert session().trainings.interrupted is not None and session().status.failed
    assert bpy.ops.saga.train_resume() == {"FINISHED"}
    assert any("went on" in note for note in session().trainings.result.notes)
    assert not list(kept.iterdir())  # it is over
    click(Vector(PLACES[0]), EYE, scale=0.6)
    assert selected().any()


def test_what_is_missing_is_one_sentence(chosen: object, splat: bpy.types.Object, tunnel: Tunnel) -> None:
    start = lambda: bpy.ops.saga.backend_start()  # noqa: E731
    key, address = chosen.remote_key, chosen.remote_address
    chosen.remote_key = "00" * 32
    refused(start, "the key in the preferences does not match the backend.*Paste the key that 'serve' printed")
    chosen.remote_key = ""
    refused(start, "The backend's key is not valid: it is empty")
    chosen.remote_key, chosen.remote_address = key, "nonsense"
    refused(start, "is not HOST:PORT")
    chosen.remote_address = ""
    refused(start, "No backend is chosen: its address is empty")
    chosen.remote_address = "198.51.100.7:7860"
    assert not bpy.app.online_access
    refused(start, "online access is disabled.*Use an SSH tunnel")
    tunnel.close()
    chosen.remote_address = address
    refused(start, r"nothing answers at 127.0.0.1:\d+.*Start the tunnel with 'ssh -N -L")


def test_paths_are_those_of_the_other_machine(chosen: object, splat: bpy.types.Object, tmp_path: Path) -> None:
    bpy.ops.saga.backend_start()
    here = tmp_path / "photos"
    here.mkdir()
    train = lambda **options: bpy.ops.saga.train(**SMALL, **options)  # noqa: E731
    machine = session().link.backend.welcome.machine
    refused(lambda: train(views_from="PHOTOS", photos="/no/such/photos"), f"on {machine}, where the backend runs")
    refused(
        lambda: train(views_from="PHOTOS", photos="//photos"), f"backend runs on {machine}, and .* not an absolute path"
    )
    refused(lambda: train(masks_from="SAM", sam_weights="/no/sam.pth"), f"on {machine}, where the backend runs")
    refused(lambda: train(masks_from="SAM"), "Segment Anything needs its weights")
    chosen.sam_weights, chosen.remote_sam_weights = str(tmp_path / "mine.pth"), "/theirs.pth"
    assert addon("scene.requests.weights").weights("SAM") == "/theirs.pth"
    assert addon("scene.requests.weights").weights_property("SAM") == "remote_sam_weights"
    bpy.ops.saga.backend_stop()
    chosen.backend_where = "HERE"
    assert addon("scene.requests.weights").weights("SAM") == str(tmp_path / "mine.pth")
    chosen.property_unset("sam_weights")


@pytest.mark.parametrize(
    ("path", "whole"),
    [("/data", True), ("C:\\data", True), ("d:/data", True), ("\\\\nas\\data", True)]
    + [(path, False) for path in ("//data", "data", "./data", "~/data", "C:data")],
)
def test_whole_paths_of_any_system(chosen: object, path: str, whole: bool) -> None:
    where = addon("scene.requests.location")
    if whole:
        assert where.backends_path("folder of photos", path) == path
    else:
        with pytest.raises(addon("errors").UserError, match="is not an absolute path there"):
            where.backends_path("folder of photos", path)


def test_the_key_is_hidden_and_in_no_report(chosen: object, served: Served) -> None:
    assert chosen.bl_rna.properties["remote_key"].subtype == "PASSWORD"
    assert served.key.strip() not in addon("scene.state.report").report_text()


def test_panels_say_where_it_runs(chosen: object, splat: bpy.types.Object, tunnel: Tunnel) -> None:
    text, buttons = draw("backend")
    assert text == "Not connected" and buttons["Connect"] and not buttons["Disconnect"]
    bpy.ops.saga.backend_start()
    text, buttons = draw("backend")
    machine = session().link.backend.welcome.machine
    assert text.startswith(f"Connected to {machine}, CPU") and buttons["Disconnect"] and not buttons["Connect"]
    bpy.context.scene.saga.masks_from = "SAM"
    assert f"Enter paths on {machine}, where the backend runs" in draw("train")[0]
    tunnel.cut()
    while session().link.backend.state.value == "connected":
        session().link.backend._connection.wait(1)
        session().poll()
    text, buttons = draw("backend")
    assert text.startswith("Lost The connection to the backend was lost") and buttons["Reconnect"]
    chosen.remote_key = ""
    text, buttons = draw("backend")
    assert "The backend's key is not valid: it is empty" in text and not buttons["Reconnect"]
