"""Messages about Segment Anything: masks before a training, help for unsure clicks, weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.wire.messages import (
    Click,
    FetchWeights,
    InstantClick,
    LoadScene,
    LookAhead,
    Prompt,
    SamOptions,
    SelectOptions,
    TrainSettings,
    TrainSources,
)
from saga_backend.common.progress import Control
from saga_backend.masks.sam import weights as sam_weights
from saga_backend.model.scene_model import SceneModel
from saga_backend.rasterizer.select import CPU
from saga_backend.segments.segments import from_sets, scale_table
from saga_backend.selection.instant import service
from saga_backend.selection.instant.segmenter import SamSegmenter
from saga_backend.serving.session import Session
from saga_backend.training.sources import prepare_inputs
from tests.helpers.clicks import CLOUD, TRUTH, VIEW, chosen, front
from tests.helpers.tiny_sam import tiny_sam

SETTINGS = TrainSettings(method="segments", views=3, width=64, height=48)
OPEN = SamOptions(str(tiny_sam()), points_per_side=4, iou=0.0, stability=0.0, nms=1.0, least_area=4, longest_side=64)
BALL = np.unique(TRUTH)[0]


def test_masks_are_found_before_a_training_and_kept(tmp_path):
    sources = TrainSources(masks="sam", masks_folder=str(tmp_path / "masks"), sam=OPEN)
    inputs = prepare_inputs(sources, CLOUD, SETTINGS, Control())
    assert len(inputs.frames) == len(inputs.masks) == len(list((tmp_path / "masks").iterdir())) == 3
    for frame, masks in zip(inputs.frames, inputs.masks, strict=True):
        assert masks.shape[1:] == (frame.view.height, frame.view.width) and masks.any()
    again = prepare_inputs(sources, CLOUD, SETTINGS, Control())
    assert any("3 of 3 pictures came from an earlier run" in note for note in again.notes)
    np.testing.assert_array_equal(again.masks[1], inputs.masks[1])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"masks_folder": ""}, "bad_settings"),
        ({"sam": SamOptions()}, "bad_weights"),
        ({"sam": replace(OPEN, iou=2.0)}, "bad_settings"),
        ({"sam": replace(OPEN, weights="nowhere.pth")}, "bad_weights"),
    ],
)
def test_trainings_by_sam_that_cannot_be(tmp_path, change, code):
    sources = TrainSources(masks="sam", masks_folder=str(tmp_path / "masks"), sam=OPEN)
    with pytest.raises(UserError) as caught:
        prepare_inputs(replace(sources, **change), CLOUD, SETTINGS, Control())
    assert caught.value.code == code
    assert not (tmp_path / "masks").exists()


class Knowing:
    """In SAM's place: one mask, what the picture shows of a ball."""

    def __init__(self, segmenter: SamSegmenter) -> None:
        self.sam = segmenter.sam
        self.asked = 0
        self._seen: set[tuple] = set()

    def has(self, view, shown):
        return (view.viewmat.tobytes(), shown) in self._seen

    def encode(self, view, picture, shown=()):
        self._seen.add((view.viewmat.tobytes(), shown))
        self.view = view
        return self

    def masks(self, pointed):
        self.asked += 1
        from saga_backend.rasterizer.cpu import all_pixels

        rows = CPU.contributions(CLOUD, self.view, all_pixels(self.view))
        mask = rows.blend((TRUTH == BALL).astype(np.float32)) > 0.5
        return mask.reshape(1, self.view.height, self.view.width), np.ones(1)


@pytest.fixture
def unsure(monkeypatch) -> tuple[Session, list[Knowing]]:
    """A session whose model has a segment of every ball but one."""
    made: list[Knowing] = []

    def knowing(sam):
        made.append(Knowing(SamSegmenter(sam)))
        return made[-1]

    monkeypatch.setattr(service, "SamSegmenter", knowing)
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    segments = from_sets([ball == TRUTH for ball in np.unique(TRUTH) if ball != BALL], CLOUD.means)
    session._scenes["toy"].model = SceneModel(segments, scale_table(segments))
    return session, made


def test_sam_helps_where_no_segment_holds_the_click(unsure):
    session, made = unsure
    request = Click("toy", (Prompt(VIEW, front(BALL)),), options=SelectOptions(weights=str(tiny_sam())))
    assert session.click(request).count == 0 and not made  # it has not looked yet, and looking takes too long
    session.look_ahead(LookAhead("toy", VIEW, str(tiny_sam())), Control())
    helped = session.click(request)
    assert made[0].asked == 1
    known = chosen(helped)
    assert known[TRUTH == BALL].mean() > 0.9 and known[TRUTH != BALL].mean() < 0.1
    assert session.click(replace(request, options=SelectOptions())).count == 0
    other = next(ball for ball in np.unique(TRUTH) if ball != BALL)
    before = made[0].asked
    held = session.click(replace(request, prompts=(Prompt(VIEW, front(other)),)))
    assert made[0].asked == before  # a segment holds that one
    np.testing.assert_array_equal(chosen(held), other == TRUTH)


def test_an_instant_click_on_a_trained_scene_is_snapped(unsure):
    session, _ = unsure
    whole = from_sets([BALL == TRUTH], CLOUD.means)
    session._scenes["toy"].model = SceneModel(whole, scale_table(whole))
    request = InstantClick(
        "toy", (Prompt(VIEW, front(BALL)),), options=SelectOptions(weights=str(tiny_sam()), neighbors=0)
    )
    np.testing.assert_array_equal(chosen(session.instant_click(request, Control())), BALL == TRUTH)


def test_weights_are_fetched_by_kind(monkeypatch, tmp_path):
    monkeypatch.setattr(sam_weights, "download", lambda file, folder, control: folder / file.name)
    session = Session("cpu")
    for kind, name in (("vit_h", "sam_vit_h_4b8939.pth"), ("ViT-B-16", "vit_b_16")):
        answer = session.fetch_weights(FetchWeights(kind, str(tmp_path)), Control())
        assert answer.path.startswith(str(tmp_path / name))
    with pytest.raises(UserError, match="no weights 'vit_x'"):
        session.fetch_weights(FetchWeights("vit_x"), Control())
