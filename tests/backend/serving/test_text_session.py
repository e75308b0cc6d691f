"""Texts through the session: found by both ways, kept in the .saga file, names; what is refused.

CLIP is a stand-in that sees mean colors and reads color words, so that what is right is known; the last test runs the
real classes with random weights.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from blender_saga.errors import Cancelled, UserError
from blender_saga.wire.messages import Cluster, FindText, LoadScene, NameSegments, Train
from saga_backend.cameras.virtual import CaptureSettings
from saga_backend.common.progress import Control
from saga_backend.model import saga_file as model_file
from saga_backend.serving.session import Session
from saga_backend.text import answers, text_file
from saga_backend.text.clip_model import LoadedClip, build
from saga_backend.tools.tiny_clip import TinySettings, save
from tests.helpers.clicks import CLOUD, SMALL, TRUTH, N, iou
from tests.helpers.twins import CancelsAt

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = {"red": (0.9, 0.2, 0.2), "blue": (0.2, 0.2, 0.9), "green": (0.1, 0.9, 0.1)}


class ColorClip:
    """A picture's vector is the color of what is not black in it; a word's is its color, another's is gray."""

    side, width, identity = 16, 3, "colors"

    def __init__(self) -> None:
        self.seen = 0

    def encode_pictures(self, pictures: np.ndarray) -> np.ndarray:
        self.seen += len(pictures)
        return _unit(np.array([p[p.max(axis=2) > 30].mean(axis=0) for p in pictures]).reshape(-1, 3))

    def encode_texts(self, texts) -> np.ndarray:
        return _unit(np.array([WORDS.get(text, (1, 1, 1)) for text in texts], float))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def clip(monkeypatch) -> ColorClip:
    stand_in = ColorClip()
    monkeypatch.setattr(answers, "shared_clip", lambda path, device: stand_in)
    return stand_in


@pytest.fixture(autouse=True)
def few_small_views(monkeypatch) -> None:
    monkeypatch.setattr(answers, "CAPTURE", CaptureSettings(8, 64, 48))


@pytest.fixture
def own_file(saga_file, tmp_path) -> Path:
    path = tmp_path / "own.saga"
    path.write_bytes(saga_file.read_bytes())
    return path


def ask(text: str, **options) -> FindText:
    return FindText("toy", text, "weights.pt", **options)


def masks_of(answer) -> np.ndarray:
    return np.unpackbits(answer.bits, axis=1, count=N).astype(bool)


def code_of(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("way", ["auto", "votes", "clusters"])
@pytest.mark.parametrize(("word", "ball"), [("red", 0), (" blue ", 1)])
def test_a_text_finds_its_ball(session, clip, way, word, ball):
    answer = session.find_text(ask(word, way=way), Control())
    assert answer.matches >= 1 and answer.note == "" and answer.scene == "toy" and answer.text == word
    assert answer.way == ("clusters" if way == "clusters" else "votes")
    masks = masks_of(answer)
    assert (ball == TRUTH)[masks[0]].mean() > 0.95  # a red part of the red ball is as red
    assert iou(masks[0], ball == TRUTH) > (0.85 if way == "clusters" else 0.1)  # of equals the largest
    assert (np.diff(answer.scores) <= 0.01).all() and answer.scores[0] > 0.5
    np.testing.assert_array_equal(answer.counts, masks.sum(axis=1))
    assert answer.thumbnails.shape[0] == len(masks) and answer.thumbnails.shape[3] == 3
    shown = answer.thumbnails[0].reshape(-1, 3).max(axis=0)
    assert shown.argmax() == (0, 2)[ball]  # the picture shows the ball
    likeness = [iou(a, b) for i, a in enumerate(masks) for b in masks[:i]]
    assert max(likeness, default=0) <= 0.85  # each candidate is another thing


@pytest.mark.parametrize("way", ["votes", "clusters"])
def test_nothing_matches_is_an_answer(session, clip, way):
    answer = session.find_text(ask("green", way=way), Control())
    assert answer.matches == 0 and "Nothing here looks like 'green'" in answer.note and len(answer.scores)


def test_before_features_are_trained_clusters_answer(clip):
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD))
    session.train(Train("toy", settings=replace(SMALL, method="segments")), Control())
    answer = session.find_text(ask("blue"), Control())
    assert answer.way == "clusters" and iou(masks_of(answer)[0], TRUTH == 1) > 0.85
    assert code_of(lambda: session.find_text(ask("blue", way="votes"), Control())) == "no_model"


def test_later_texts_need_no_pictures(session, clip):
    session.find_text(ask("red"), Control())
    before = clip.seen
    assert before > 0
    session.find_text(ask("blue"), Control())
    assert clip.seen == before


def test_the_file_keeps_what_was_described(saga_file, own_file, clip):
    first = Session("cpu")
    first.load_scene(LoadScene("toy", CLOUD, model_file=str(own_file)))
    wanted = [
        first.find_text(ask("red", model_file=str(own_file), way=way), Control()) for way in ("votes", "clusters")
    ]
    described = clip.seen
    again = Session("cpu")
    again.load_scene(LoadScene("toy", CLOUD, model_file=str(own_file)))
    for way, answer in zip(("votes", "clusters"), wanted, strict=True):
        other = again.find_text(ask("red", way=way), Control())
        np.testing.assert_array_equal(other.bits, answer.bits)
        np.testing.assert_array_equal(other.scores, answer.scores)
        np.testing.assert_array_equal(other.thumbnails, answer.thumbnails)
    assert clip.seen == described
    old, _ = model_file.load(saga_file)
    new, _ = model_file.load(own_file)  # the model is as it was
    np.testing.assert_array_equal(new.affinity.features, old.affinity.features)
    np.testing.assert_array_equal(new.segments.ids, old.segments.ids)


def test_other_weights_describe_anew(own_file, clip):
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD, model_file=str(own_file)))
    session.find_text(ask("red", model_file=str(own_file)), Control())
    before, clip.identity = clip.seen, "others"
    session.find_text(ask("red", model_file=str(own_file)), Control())
    assert clip.seen == 2 * before
    assert text_file.read(own_file, N)["votes"].clip == "others"


def test_a_new_training_forgets_the_old_description(session, clip):
    session.find_text(ask("red"), Control())
    before = clip.seen
    session.train(Train("toy", settings=SMALL), Control())
    session.find_text(ask("red"), Control())
    assert clip.seen > before


def test_a_description_that_cannot_be_kept_is_still_an_answer(own_file, clip, monkeypatch):
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD, model_file=str(own_file)))
    own_file.write_bytes(b"no longer a model")
    answer = session.find_text(ask("red", model_file=str(own_file)), Control())
    assert answer.matches and "could not be saved" in answer.note and own_file.read_bytes() == b"no longer a model"


@pytest.mark.parametrize("key", ["offsets", "ids", "vectors", "target_of", "thumbnails"])
def test_broken_descriptions_are_left_out(own_file, clip, key):
    session = Session("cpu")
    session.load_scene(LoadScene("toy", CLOUD, model_file=str(own_file)))
    session.find_text(ask("red", model_file=str(own_file)), Control())
    with safe_open(str(own_file), framework="numpy") as file:
        tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    good = tensors[f"text.votes.{key}"]
    for bad in (good[:-1], good.astype(np.float32), np.zeros(0, good.dtype), np.zeros((), good.dtype), None):
        broken = {name: array for name, array in tensors.items() if name != f"text.votes.{key}"}
        broken |= {} if bad is None else {f"text.votes.{key}": bad}
        model_file.write_tensors(own_file, broken, {**_facts(facts)})
        assert text_file.read(own_file, N) == {}
    model_file.write_tensors(own_file, tensors, _facts(facts))
    assert set(text_file.read(own_file, N)) == {"votes"}
    assert text_file.read(own_file, int(tensors["text.votes.ids"].max())) == {}  # of a smaller cloud


def _facts(metadata: dict) -> dict:
    import json

    return json.loads(metadata["saga"])


def test_names_for_the_tree(session, clip):
    tree = session.cluster(Cluster("toy"), Control())
    answer = session.name_segments(NameSegments("toy", ("blue", "red", "green", " "), "weights.pt"), Control())
    assert len(answer.names) == len(answer.scores) == len(tree.parents)
    for node, name in enumerate(answer.names):
        within = [node]  # itself and everything below it; parents stand before their parts
        for part in range(node + 1, len(tree.parents)):
            within += [part] if tree.parents[part] in within else []
        members = np.isin(tree.labels, within)
        purity = [(TRUTH[members] == ball).mean() for ball in (0, 1)]
        if max(purity) > 0.95:
            assert name == ("red", "blue")[int(np.argmax(purity))]
    assert {"red", "blue"} <= set(answer.names)
    none = session.name_segments(NameSegments("toy", ("green",), "weights.pt"), Control())
    assert set(none.names) == {""}


def test_what_is_refused(session, clip):
    control = Control()
    assert code_of(lambda: session.find_text(ask(" "), control)) == "user"
    assert code_of(lambda: session.find_text(ask("x" * 301), control)) == "user"
    assert code_of(lambda: session.find_text(ask("red", way="magic"), control)) == "bad_settings"
    assert code_of(lambda: session.find_text(ask("red", limit=0), control)) == "bad_settings"
    assert code_of(lambda: session.find_text(replace(ask("red"), weights=""), control)) == "bad_weights"
    assert code_of(lambda: session.find_text(replace(ask("red"), scene="none"), control)) == "no_scene"
    assert code_of(lambda: session.name_segments(NameSegments("toy", (" ",), "weights.pt"), control)) == "user"
    assert clip.seen == 0
    assert len(session.find_text(ask("red", limit=1), control).scores) == 1


def test_it_can_be_cancelled_and_begins_again(session, clip):
    with pytest.raises(Cancelled):
        session.find_text(ask("red"), CancelsAt("describing views"))
    with pytest.raises(Cancelled):
        session.find_text(ask("red", way="clusters"), CancelsAt("drawing clusters"))
    assert session.find_text(ask("red"), Control()).matches


def test_while_it_trains_texts_wait(session, clip):
    codes = []

    class Asks(Control):
        def emit(self, phase: str, step: int, total: int) -> None:
            if phase == "training" and not codes:
                codes.append(code_of(lambda: session.find_text(ask("red"), Control())))

    session.train(Train("toy", settings=SMALL), Asks())
    assert codes == ["busy"]


def test_real_classes_with_random_weights(session, own_file, tmp_path):
    settings = TinySettings(side=32, text_width=16, text_layers=1, embed=16)
    torch.manual_seed(0)
    path = tmp_path / "random.pt"
    save(LoadedClip(build(settings.config()).eval(), settings.config(), ""), path)
    answer = session.find_text(FindText("toy", "red ball", str(path), str(own_file), limit=3), Control())
    assert 1 <= len(answer.scores) <= 3 and np.isfinite(answer.scores).all()
    assert code_of(lambda: session.find_text(FindText("toy", "x", str(tmp_path / "no.pt")), Control())) == "bad_weights"
