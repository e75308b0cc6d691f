"""What the sidebar says in each state. Its draw functions run with a layout that writes down what it is asked for.

There is no window here; the names of icons, operators and properties are checked against Blender's own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from tests.blender.clouds import random_cloud, write_inria
from tests.blender.support import PACKAGE, addon, compiled

ICONS = {item.identifier for item in bpy.types.UILayout.bl_rna.functions["label"].parameters["icon"].enum_items}
PANELS = {
    **dict.fromkeys(("scene", "view"), "panels"),
    "backend": "backend_panel",
    "train": "train_panel",
    **dict.fromkeys(("select", "clean_up", "edit", "export"), "select_panels"),
    "segments": "segment_panel",
    "recolor": "recolor_panel",
}


SOURCES = "Views and Masks More Settings"


class Layout:
    """A layout that records: `texts` what is read, `buttons` operator -> whether it can be pressed."""

    def __init__(self, parent: Layout | None = None) -> None:
        self.texts: list[str] = parent.texts if parent else []
        self.buttons: dict[str, bool] = parent.buttons if parent else {}
        self._parent = parent
        self.enabled = True

    def _on(self) -> bool:
        return self.enabled and (self._parent is None or self._parent._on())

    def row(self, **_: object) -> Layout:
        return Layout(self)

    column = grid_flow = row

    def panel(self, idname: str, default_closed: bool = False) -> tuple[Layout, Layout]:
        """Open, whatever the default: what is in it is drawn."""
        return Layout(self), Layout(self)

    def panel_prop(self, owner: object, name: str) -> tuple[Layout, Layout | None]:
        return Layout(self), Layout(self) if getattr(owner, name) else None

    def label(self, text: str, icon: str = "NONE") -> None:
        assert icon in ICONS
        self.texts.append(text)

    def operator(self, idname: str, text: str = "", icon: str = "NONE", **_: object) -> SimpleNamespace:
        assert icon in ICONS
        group, name = idname.split(".")
        getattr(getattr(bpy.ops, group), name).get_rna_type()  # it exists
        self.buttons[text or name] = self._on()
        return SimpleNamespace()

    def prop(self, owner: object, name: str, **_: object) -> None:
        assert name in owner.bl_rna.properties

    def template_icon(self, icon_value: int, scale: float) -> None:
        assert icon_value >= 0  # 0 where there is no window
        self.texts.append("picture")

    def progress(self, factor: float, text: str) -> None:
        assert 0 <= factor <= 1
        self.texts.append(text)

    def template_list(self, kind: str, *_: object, **__: object) -> None:
        assert hasattr(bpy.types, kind)
        self.texts.append("(list)")


def draw(name: str) -> tuple[str, dict[str, bool]]:
    """The text of a panel and its buttons."""
    layout = Layout()
    kind = getattr(addon(f"ui.{PANELS[name]}"), f"SAGA_PT_{name}")
    methods = {key: value for key, value in vars(kind).items() if key.startswith("_draw")}
    panel = SimpleNamespace(layout=layout)
    for key, method in methods.items():
        setattr(panel, key, method.__get__(panel))
    kind.draw(panel, bpy.context)
    return " ".join(layout.texts), layout.buttons


@pytest.fixture
def splat(tmp_path: Path) -> bpy.types.Object:
    write_inria(tmp_path / "vase.ply", random_cloud(1234, 2))
    bpy.ops.saga.import_splat(filepath=str(tmp_path / "vase.ply"))
    return bpy.context.view_layer.objects.active


@pytest.fixture
def own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", "somewhere/python")


def test_tab_is_called_saga() -> None:
    for name in PANELS:
        kind = getattr(bpy.types, f"SAGA_PT_{name}")
        assert (kind.bl_category, kind.bl_space_type, kind.bl_region_type) == ("SAGA", "VIEW_3D", "UI")


def test_empty_scene_offers_the_import() -> None:
    text, buttons = draw("scene")
    assert "No splat is active" in text and buttons == {"Import Splat": True}
    assert draw("train")[1] == {"train": False}
    assert not any(draw("edit")[1].values())


def test_scene_describes_the_splat(splat: bpy.types.Object) -> None:
    text, _ = draw("scene")
    assert "vase" in text and "1,234 Gaussians, SH degree 2" in text and "Model: not trained" in text


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLENDER_SAGA_PYTHON", raising=False)
    text, buttons = draw("backend")
    assert "The backend is not installed" in text
    assert buttons == {"Install": True, "Start": False, "Stop": False, "copy_report": True}


def test_installed_and_stopped(own_python: None) -> None:
    text, buttons = draw("backend")
    assert text.startswith("Stopped") and buttons == {
        "Install": False,
        "Start": True,
        "Stop": False,
        "copy_report": True,
    }


@pytest.fixture
def old_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An environment that was installed by another version of the extension; gives its Python."""
    monkeypatch.delenv("BLENDER_SAGA_PYTHON", raising=False)
    folder = addon("scene.state.launch").backend_folder()
    python = addon("client.install.uv").interpreter(folder / "environment-7")
    python.parent.mkdir(parents=True)
    python.touch()
    (folder / "environment-7" / "saga_installed.txt").write_text("of another lock")
    (folder / "environment.current").write_text("environment-7")
    yield python
    shutil.rmtree(folder)


def test_an_older_environment_works_until_the_upgrade(old_environment: Path) -> None:
    text, buttons = draw("backend")
    assert "installed for another version. Upgrade needs about 7 GB; the old version works until then" in text
    assert buttons == {"Upgrade": True, "Start": True, "Stop": False, "copy_report": True}
    launch = addon("scene.state.launch").backend_launch()
    assert launch.python == old_environment and launch.cache_dir == compiled(old_environment.parents[1])


def test_a_gpu_that_cannot_be_used_is_told(own_python: None) -> None:
    why = "The GPU is not used: the driver 470.10 of the Toy knows CUDA up to 11.4. Update the NVIDIA driver"
    welcome = SimpleNamespace(device="cpu", note="CPU with 2 cores", obstacle=why, machine="")
    state = addon("client.connection.connection").ConnectionState.connected
    backend = SimpleNamespace(state=state, welcome=welcome, error="", remote=None, starts=1)
    backend.poll = backend.stop = lambda: False
    session = addon("scene.state.session")
    session.link.backend = backend
    try:
        assert why in draw("backend")[0]
    finally:
        session.link.backend = None


def test_install_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the bar, in lines: on it a long text would be cut."""
    text = "Downloading: torch, triton and 3 more; 2.3 GB on disk, 41 MB/s"
    running = SimpleNamespace(running=True, text=text, fraction=0.4, error=None)
    monkeypatch.setattr(addon("scene.state.session").downloads, "installation", running)
    shown, buttons = draw("backend")
    assert shown == f"Stopped 40% {text}" and buttons == {"cancel": True}


def test_train_says_that_the_backend_is_not_installed(splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BLENDER_SAGA_PYTHON", raising=False)
    text, buttons = draw("train")
    assert "The backend is not installed" in text and buttons == {"train": False}


def test_select_says_that_the_splat_is_not_trained(splat: bpy.types.Object) -> None:
    text, buttons = draw("select")
    assert (
        "not trained yet. Press Train Affinity first" in text
        and buttons.pop("SAGA Select") is False
        and not any(buttons.values())
    )


def test_progress_with_phase_and_time(splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = SimpleNamespace(phase="training", eta=125.0)
    job = SimpleNamespace(progress=progress, fraction=0.25)
    message = addon("wire.messages").Train(splat.saga.fingerprint)
    training = SimpleNamespace(ended=False, job=job, message=message)
    monkeypatch.setattr(addon("scene.state.session").trainings, "request", training)
    text, buttons = draw("train")
    assert text == "Training, 2 min 05 s left" and buttons == {"cancel": True}
    assert "Model: training" in draw("scene")[0]


def test_loss_is_a_curve_that_grows(splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the training, half of the width; it begins at the top and ends at the bottom."""
    session = addon("scene.state.session")
    for step in range(0, 500, 5):
        progress = SimpleNamespace(phase="training", step=step, total=1000, eta=3.0, loss=2.0 - step / 500)
        job = SimpleNamespace(progress=progress, fraction=step / 1000)
        session.trainings.losses.look(job)
    message = addon("wire.messages").Train(splat.saga.fingerprint)
    monkeypatch.setattr(session.trainings, "request", SimpleNamespace(ended=False, job=job, message=message))
    text, _ = draw("train")
    _, rest = text.split("left ")
    lines, words = rest.split(" Loss ")
    top, middle, bottom = lines.split(" ")
    width = addon("ui.drawing").curve_width()
    assert len(top) == len(middle) == len(bottom) == -(-width // 2)
    heights = [sum("\u2003▁▂▃▄▅▆▇█".index(line[i]) for line in (top, middle, bottom)) for i in range(len(top))]
    assert heights == sorted(heights, reverse=True) and (heights[0], heights[-1]) == (24, 1)
    first, last = (float(word) for word in words.split(" to "))
    assert 1.9 < first < 2.0 and 1.0 < last < 1.1


def test_loss_that_is_no_number_is_left_out() -> None:
    losses = addon("scene.state.session").trainings.losses
    losses.look(SimpleNamespace(progress=SimpleNamespace(step=1, total=9, loss=float("nan"))))
    losses.look(None)
    assert losses.points == [] and losses.columns(20) == []


def test_curve_of_one_height_and_of_two() -> None:
    curve_lines = addon("ui.drawing").curve_lines
    assert curve_lines([3.0, 3.0], 2) == ["\u2003\u2003", "▁▁"]
    assert curve_lines([1.0, 0.0], 2) == ["█\u2003", "█▁"]


def test_what_a_training_came_to(
    splat: bpy.types.Object, own_python: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").touch()
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", str(tmp_path / "python"))
    trained = addon("wire.messages").Trained(
        splat.saga.fingerprint,
        300,
        1217,
        16,
        0.987,
        ("views", "rows", "training"),
        (7.2, 3.1, 20.9),
        "",
        ("a photo is missing",),
    )
    monkeypatch.setattr(addon("scene.state.session").trainings, "result", trained)
    settings = bpy.context.scene.saga
    text, buttons = draw("train")
    assert buttons == {"train": True} and text.endswith("Trained on 16 views in 31 s")  # and the panel Select is near
    settings.show_trained = True
    text, buttons = draw("train")
    for words in ("1,217 masks, 99% of the splat seen", "31 s: views 7 s, rows 3 s, training 21 s"):
        assert words in text
    assert "A photo is missing" in text


def test_train_says_what_is_missing(splat: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python").touch()
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", str(tmp_path / "python"))
    settings = bpy.context.scene.saga
    assert draw("train") == (SOURCES, {"train": True})
    settings.views_from = "CAMERAS"
    assert draw("train") == (
        f"{SOURCES} There are no cameras in the scene. Add cameras that look at the splat",
        {"train": False},
    )
    settings.views_from = "PHOTOS"
    assert "No folder of photos is chosen" in draw("train")[0]
    settings.photos = str(tmp_path)
    assert draw("train") == (SOURCES, {"train": True})
    settings.masks_from = "FILES"
    assert "No folder of masks is chosen" in draw("train")[0]
    settings.masks_folder, settings.views_from = str(tmp_path), "VIRTUAL"
    assert "Mask files need photos or cameras" in draw("train")[0]


def test_segment_anything_needs_weights(
    splat: bpy.types.Object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They can be chosen or downloaded right there."""
    (tmp_path / "python").touch()
    monkeypatch.setenv("BLENDER_SAGA_PYTHON", str(tmp_path / "python"))
    bpy.context.scene.saga.masks_from = "SAM"
    text, buttons = draw("train")
    assert "no weights file is chosen" in text and buttons == {"Download SAM": True, "train": False}
    progress = SimpleNamespace(phase="downloading", step=120, total=375, eta=30.0)
    job = SimpleNamespace(progress=progress, fraction=0.3)
    monkeypatch.setattr(addon("scene.state.session").downloads, "weights", SimpleNamespace(ended=False, job=job))
    text, buttons = draw("train")
    assert "30 s left Downloading: 120 of 375 MB" in text and buttons == {"cancel": True, "train": False}
    monkeypatch.setattr(addon("scene.state.session").downloads, "weights", None)
    preferences = addon("scene.state.launch").preferences()
    preferences.sam_weights = "/weights/sam.pth"
    try:
        assert draw("train") == (SOURCES, {"train": True})
        bpy.context.scene.saga.show_sources = False
        assert draw("train") == ("Views and Masks", {"train": True})
    finally:
        preferences.sam_weights = ""


def test_memory_is_shown(own_python: None, monkeypatch: pytest.MonkeyPatch) -> None:
    state = addon("wire.messages").BackendState(1536, 10240, "Some GPU", 2048, 81920)
    monkeypatch.setattr(addon("scene.state.session").link.memory, "state", state)
    assert draw("backend")[0] == "Stopped Some GPU: 2.0 GB of 80.0 GB Memory: 1.5 GB used, 10.0 GB free"


def test_selection_is_counted(splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    splat.saga.model_file = "/somewhere/vase.saga"
    monkeypatch.setattr(addon("ui.panel_base"), "usable_backend", lambda: None)
    bpy.ops.saga.invert()
    text, buttons = draw("select")
    assert text == "Selected: 1,234 of 1,234" and all(buttons.values())
    assert "Model: vase.saga" in draw("scene")[0]


def test_last_message_is_shown() -> None:
    addon("scene.state.session").status.tell("There is nothing under the click")
    assert "There is nothing under the click" in draw("scene")[0]


@pytest.mark.parametrize(("where", "button"), [("HERE", "Start"), ("ELSEWHERE", "Connect")])
def test_preferences_draw(own_python: None, where: str, button: str) -> None:
    layout = Layout()
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.backend_where = where
    drawn = SimpleNamespace(layout=layout, bl_rna=preferences.bl_rna, backend_where=where)
    try:
        type(preferences).draw(drawn, bpy.context)
    finally:
        preferences.property_unset("backend_where")
    assert button in layout.buttons


def test_clicks_are_listed_with_a_button_each(splat: bpy.types.Object, monkeypatch: pytest.MonkeyPatch) -> None:
    splat.saga.model_file = "/somewhere/vase.saga"
    monkeypatch.setattr(addon("ui.panel_base"), "usable_backend", lambda: None)
    for box, positive in ((False, True), (True, False)):
        prompt = bpy.context.scene.saga.prompts.add()
        prompt.box, prompt.positive = box, positive
    text, _ = draw("select")
    assert "Click 1 Box 2 (exclude)" in text


def test_view_modes_say_what_is_missing(splat: bpy.types.Object) -> None:
    expected = {"COLOR": {}, "PCA": {"color_features": True}, "CLUSTERS": {"segment_scene": True}, "SIMILARITY": {}}
    for mode, buttons in expected.items():
        bpy.context.scene.saga.view_mode = mode
        text, found = draw("view")
        assert found == buttons and ("No click yet" in text) == (mode == "SIMILARITY")


def test_things_need_a_model(splat: bpy.types.Object) -> None:
    text, buttons = draw("segments")
    assert "not trained yet" in text and buttons == {"segment_scene": False}
    splat.saga.segments.add()
    assert "(list)" in draw("segments")[0]


@pytest.mark.parametrize("mode", ["OBJECT", "EDIT_POINTCLOUD"])
def test_tool_is_in_the_toolbar(mode: str) -> None:
    from bl_ui.space_toolsystem_common import ToolSelectPanelHelper

    toolbar = ToolSelectPanelHelper._tool_class_from_space_type("VIEW_3D")
    names = [tool.idname for tool in toolbar._tools_flatten(toolbar._tools[mode]) if tool]
    assert names.count(addon("ui.tool").IDNAME) == 1
