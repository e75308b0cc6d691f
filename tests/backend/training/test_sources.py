"""Views and masks as a Train message names them: what is drawn, what is refused, and that nothing is changed then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blender_saga.errors import UserError
from blender_saga.gaussians.transforms import RDF_TO_BLENDER, transform_cloud
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import LoadScene, Status, Train, Trained, TrainSettings, TrainSources
from saga_backend.common.progress import Control
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.serving.session import Session
from saga_backend.training.sources import prepare_inputs, to_cloud_units
from tests.helpers.clicks import CLOUD, SMALL, TRUTH, chosen, click_at, front, iou
from tests.helpers.photo_sets import save_mask, shot_of, write_colmap_text, write_photos, write_transforms
from tests.helpers.twins import toy_views

pytestmark = pytest.mark.usefixtures("one_thread")
VIEWS = tuple(toy_views())
AS_GIVEN = replace(SMALL, views=0, width=0, height=0)


def ball_labels(view: View) -> np.ndarray:
    """[H,W] 0 background, 1 and 2: the ball that fills most of the pixel."""
    rows = contributions(CLOUD, view, all_pixels(view))
    shares = np.stack([rows.blend((ball == TRUTH).astype(np.float32)) for ball in (0, 1)])
    labels = np.where(shares.max(axis=0) > 0.5, shares.argmax(axis=0) + 1, 0)
    return labels.reshape(view.height, view.width)


def loaded(**scene: object) -> Session:
    session = Session("cpu")
    session.load_scene(LoadScene("toy", **({"cloud": CLOUD} | scene)))
    return session


def trained(session: Session, sources: TrainSources, settings: TrainSettings = AS_GIVEN) -> Trained:
    return session.train(Train("toy", "", replace(settings, steps=30), sources), Control())


def refused(sources: TrainSources, session: Session | None = None, settings: TrainSettings = AS_GIVEN) -> UserError:
    """What a training says that cannot begin; the session has no model before and after it."""
    session = session or loaded()
    with pytest.raises(UserError) as caught:
        trained(session, sources, settings)
    with pytest.raises(UserError, match="no trained model"):
        session.click(click_at(front(0)))
    return caught.value


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The toy's views as a COLMAP folder with photos, 128 x 96."""
    shots = [shot_of(f"left/{i:02d}.jpg", v.resized(128, 96)) for i, v in enumerate(VIEWS)]
    write_colmap_text(tmp_path / "photos" / "sparse" / "0", shots)
    write_photos(tmp_path / "photos" / "images", shots)
    return tmp_path / "photos"


def test_views_of_the_message_are_trained_in() -> None:
    session = loaded()
    answer = trained(session, TrainSources(VIEWS[:4]))
    assert (answer.views, answer.coverage, answer.notes) == (4, 1.0, ())
    assert iou(chosen(session.click(click_at(front(0)))), TRUTH == 0) > 0.8


def test_photos_of_a_cloud_that_was_turned_are_found_where_they_stood(photos: Path, rng: np.random.Generator) -> None:
    """The cloud is turned, moved and scaled after the photos were taken; a view shows the same picture."""
    change = np.eye(4)
    change[:3, :3] = 1.7 * Rotation.random(random_state=rng).as_matrix() @ RDF_TO_BLENDER[:3, :3]
    change[:3, 3] = rng.normal(size=3)
    turned = transform_cloud(CLOUD, change)
    sources = TrainSources(cameras=str(photos), to_object=change)
    inputs = prepare_inputs(sources, turned, TrainSettings(width=64), Control())
    assert [frame.name for frame in inputs.frames] == [f"left/{i:02d}.jpg" for i in range(6)]
    for frame, view in zip(inputs.frames, VIEWS, strict=True):
        there, here = (contributions(c, v, all_pixels(v)) for c, v in ((turned, frame.view), (CLOUD, view)))
        np.testing.assert_allclose(there.alphas(), here.alphas(), atol=2e-3)
        linear = frame.view.viewmat[:3, :3]
        np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-9)  # sizes are the cloud's


@pytest.mark.parametrize("orthographic", [False, True])
def test_a_scaled_camera_shows_the_same_picture(orthographic: bool) -> None:
    K = np.array([[9.0, 0, 32], [0, 9.0, 24], [0, 0, 1]]) if orthographic else VIEWS[0].K
    view = replace(VIEWS[0], K=K, orthographic=orthographic)
    scaled = to_cloud_units(view.of_object(2.5 * np.eye(4) + np.diag([0, 0, 0, -1.5])))
    small = transform_cloud(CLOUD, np.diag([0.4, 0.4, 0.4, 1]))
    a, b = contributions(CLOUD, view, all_pixels(view)), contributions(small, scaled, all_pixels(scaled))
    assert a.alphas().max() > 0.9
    np.testing.assert_allclose(a.alphas(), b.alphas(), atol=2e-3)


def test_orthographic_views_are_trained_in() -> None:
    K = np.array([[9.0, 0, 32], [0, 9.0, 24], [0, 0, 1]])
    session = loaded()
    trained(session, TrainSources(tuple(replace(v, K=K, orthographic=True) for v in VIEWS)))
    assert iou(chosen(session.click(click_at(front(0)))), TRUTH == 0) > 0.8


def test_masks_of_files_are_what_is_learned(photos: Path, tmp_path: Path) -> None:
    for i, view in enumerate(VIEWS[:5]):
        save_mask(tmp_path / "masks" / f"{i:02d}.png", ball_labels(view), inside=100)
    session = loaded()
    answer = trained(session, TrainSources(cameras=str(photos), masks="files", masks_folder=str(tmp_path / "masks")))
    assert answer.masks == 2 * 5 and answer.views == 6
    assert answer.notes == ("masks: 1 of 6 views have no masks (left/05.jpg ...)",)
    for ball in (0, 1):
        assert iou(chosen(session.click(click_at(front(ball)))), ball == TRUTH) > 0.9


def test_masks_are_found_by_the_names_of_cameras(tmp_path: Path) -> None:
    """Blender's own: with a number that looks like an ending, and with the frame of an animation in a folder."""
    names = ("Camera", "Camera.001", "Camera.002", "Walk/0001", "Walk/0002", "Walk.001/0003")
    files = ("Camera.png", "Camera.001.png", "Walk/0001.png", "0002.png", "Walk.001/0003.png")
    sources = TrainSources(VIEWS, names, masks="files", masks_folder=str(tmp_path))
    for file, index in zip(files, (0, 1, 3, 4, 5), strict=True):
        save_mask(tmp_path / file, ball_labels(VIEWS[index]), inside=100)
    answer = trained(loaded(), sources)
    assert answer.masks == 2 * 5
    assert answer.notes == (f"{tmp_path.name}: 1 of 6 views have no masks (Camera.002.png ...)",)


def test_photos_that_are_missing_are_counted(tmp_path: Path) -> None:
    shots = [shot_of(f"{i:02d}.png", v) for i, v in enumerate(VIEWS)]
    write_photos(tmp_path / "images", shots[1:])
    write_transforms(tmp_path / "transforms.json", shots)
    answer = trained(loaded(), TrainSources(cameras=str(tmp_path)))
    assert answer.views == 5 and "1 of 6 photos are missing" in answer.notes[0]


def test_views_that_show_nothing_are_left_out_and_counted() -> None:
    away = replace(VIEWS[0], viewmat=np.diag([-1.0, 1, -1, 1]) @ VIEWS[0].viewmat)
    answer = trained(loaded(), TrainSources((*VIEWS, away)))
    assert answer.views == 6 and answer.notes == ("1 of 7 views do not show the splat and were left out",)
    assert "No camera sees the splat" in refused(TrainSources((away,))).sentence()


def test_limit_of_views_is_kept(photos: Path) -> None:
    assert trained(loaded(), TrainSources(cameras=str(photos)), replace(AS_GIVEN, views=3)).views == 3
    assert trained(loaded(), TrainSources(VIEWS), replace(AS_GIVEN, views=2)).views == 2


def test_cameras_that_are_not_there(tmp_path: Path, photos: Path) -> None:
    assert "there is no such file or folder" in refused(TrainSources(cameras=str(tmp_path / "no"))).sentence()
    (tmp_path / "empty").mkdir()
    assert "has no cameras" in refused(TrainSources(cameras=str(tmp_path / "empty"))).sentence()
    for photo in (photos / "images" / "left").iterdir():
        photo.unlink()
    assert "none of its 6 photos exists" in refused(TrainSources(cameras=str(photos))).sentence()


def test_cameras_of_another_scene(photos: Path) -> None:
    far = np.eye(4)
    far[:3, 3] = (500, 0, 0)
    assert "No camera sees the splat" in refused(TrainSources(cameras=str(photos), to_object=far)).sentence()


@pytest.mark.parametrize("to_object", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)], ids=["0", "nan", "3x3"])
def test_a_matrix_that_is_none(photos: Path, to_object: np.ndarray) -> None:
    assert refused(TrainSources(cameras=str(photos), to_object=to_object)).code == "bad_view"


def test_masks_that_do_not_fit(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    sources = TrainSources(cameras=str(photos), masks="files", masks_folder=str(folder))
    assert "there is no such folder" in refused(sources).sentence()
    folder.mkdir()
    assert "fit none of the photos" in refused(sources).sentence()
    save_mask(folder / "03.png", np.ones((60, 60)))
    sentence = refused(sources).sentence()
    assert "03.png has 60 x 60 pixels" in sentence
    (folder / "03.png").write_bytes(b"no picture")
    assert "03.png cannot be read" in refused(sources).sentence()


def test_masks_of_another_size_later_in_the_folder(photos: Path, tmp_path: Path) -> None:
    """Only the first file is tried beforehand; a later one ends the training, and the former model stays."""
    for i, view in enumerate(VIEWS):
        save_mask(tmp_path / "masks" / f"{i:02d}.png", ball_labels(view)[:, : 64 if i < 3 else 40], inside=100)
    session = loaded()
    trained(session, TrainSources(VIEWS))
    before = chosen(session.click(click_at(front(0))))
    with pytest.raises(UserError, match=r"03\.png has 40 x 48 pixels"):
        trained(session, TrainSources(cameras=str(photos), masks="files", masks_folder=str(tmp_path / "masks")))
    np.testing.assert_array_equal(chosen(session.click(click_at(front(0)))), before)


def test_files_without_photos_are_those_of_virtual_views(tmp_path: Path) -> None:
    sources = TrainSources(masks="files", masks_folder=str(tmp_path))
    assert "view_000.png" in refused(sources, settings=SMALL).sentence()


@pytest.mark.parametrize(
    "sources",
    [
        TrainSources(masks="magic"),
        TrainSources(VIEWS, cameras="somewhere"),
        TrainSources(VIEWS, ("one",)),
    ],
    ids=["masks", "both", "names"],
)
def test_messages_that_make_no_sense(sources: TrainSources) -> None:
    assert refused(sources).code in ("bad_settings", "bad_view")


def test_status_tells_the_memory_of_this_process() -> None:
    status = Session("cpu").status(Status())
    resident = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmRSS"))
    assert abs(status.memory - int(resident.split()[1]) / 1024) < 64
    assert status.available > 0 and (status.device_memory, status.device_total) == (0, 0)


def test_status_of_a_gpu_tells_what_everybody_takes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (60 << 30, 80 << 30))
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Some GPU")
    status = Session("cuda").status(Status())
    assert (status.device, status.device_memory, status.device_total) == ("Some GPU", 20 << 10, 80 << 10)
