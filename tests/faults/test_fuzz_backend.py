"""Frames at a real backend process by a client that knows the key: it lives, answers, and keeps within its memory.

What is refused has a reason in words: the code "bug" is a defect of the product.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blender_saga.wire import codec
from blender_saga.wire.channel import Channel, ChannelClosed
from blender_saga.wire.messages import (
    Failed,
    LoadScene,
    SceneState,
    Selection,
    Train,
    Trained,
    TrainSettings,
    Unload,
)
from tests.faults.frames import Fuzzer
from tests.faults.honest import click, requests, small_cloud
from tests.faults.target import FAKE, REAL, SECONDS, Heard, Target
from tests.helpers.tiny_sam import tiny_sam

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers too large for float32
BATCH = 50
ROOM = 1 << 30
"""Bytes that the process may take on top of what honest use took: the largest picture that is allowed takes half, some
frames ask for a hundred times as much."""
SMALL = TrainSettings("saga", "prototypes", 20, 6, 64, 48, 64, 1)


@pytest.fixture(params=[FAKE, REAL], ids=["fake", "real"])
def target(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    # glibc reserves 64 MB for each of up to eight threads a core: how many there were at once is not what is limited
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    if request.param == REAL:
        furnish(tmp_path)
    target = Target(tmp_path, request.param)
    for scene in ("toy", "good"):
        assert isinstance(target.ask(LoadScene(scene, small_cloud(0))), SceneState)
        assert isinstance(target.ask(Train(scene, str(tmp_path / f"{scene}.saga"), SMALL)), Trained)
    yield target
    target.stop()


def furnish(folder: Path) -> None:
    """Weights of a tiny Segment Anything, and masks for the two views of the requests."""
    (folder / "sam.pth").write_bytes(tiny_sam().read_bytes())
    masks = np.zeros((2, 36, 48), bool)
    masks[0, 10:20, 5:15], masks[1, 10:20, 20:30] = True, True
    for name in ("a", "b"):
        np.savez_compressed(folder / f"{name}.npz", masks=masks)


def answer(target: Target) -> tuple[int, bytes]:
    """What an honest click selects."""
    selection = target.ask(click("good"))
    assert isinstance(selection, Selection) and 0 < selection.count < selection.total
    return selection.count, selection.bits.tobytes()


def reload(target: Target, folder: Path, model: bytes) -> None:
    """Bring back the scene that is fired at, whatever was done to it."""
    (folder / "toy.saga").write_bytes(model)
    state = target.ask(LoadScene("toy", small_cloud(0), model_file=str(folder / "toy.saga")))
    assert isinstance(state, SceneState)


def test_it_lives_and_answers(case, counts, seed: int, target: Target, tmp_path: Path) -> None:
    real = target.process.launch.launch_path == REAL
    total = counts(reduced=5_000, full=100_000) if real else counts(reduced=15_000, full=200_000)
    with case(f"fuzz: {total:,} frames at a backend with {'torch' if real else 'a fake session'}") as row:
        path = tmp_path / "toy.saga"
        model, right, before = path.read_bytes() if path.exists() else b"", answer(target), target.memory()
        target.limit(ROOM)
        fuzzer, heard = Fuzzer(seed, requests("toy", str(tmp_path))), Heard()
        while heard.frames < total:
            if real:
                reload(target, tmp_path, model)
            target.fire([fuzzer.frame(heard.frames + n) for n in range(1, BATCH + 1)], heard)
        assert not (real and heard.bugs), told(heard)
        assert answer(target) == right
        assert target.process.alive
        more = target.memory() - before
        assert more < ROOM
        row.lost = "nothing"
        row.remark = f"{summary(heard)}; {more >> 20} MB more than before; seed {seed}"


@pytest.mark.parametrize("target", [REAL], indirect=True, ids=["real"])
def test_right_types_with_wild_values_are_refused_in_words(case, counts, seed, target: Target, tmp_path: Path) -> None:
    total = counts(reduced=2_000, full=50_000)
    with case(f"fuzz: {total:,} requests of right types with wild values") as row:
        model, right, before = (tmp_path / "toy.saga").read_bytes(), answer(target), target.memory()
        target.limit(ROOM)
        wanted = [r for r in requests("toy", str(tmp_path)) if "scene" in vars(r) and not isinstance(r, Unload)]
        fuzzer, heard = Fuzzer(seed, wanted), Heard()
        while heard.frames < total:
            reload(target, tmp_path, model)
            frames = [fuzzer.harmless(fuzzer.spoilt, heard.frames + n) for n in range(1, BATCH + 1)]
            target.fire(frames, heard)
        assert not heard.bugs, told(heard)
        assert heard.kinds["Selection"] > total // 50  # they get far, not only to the first check
        assert answer(target) == right and target.memory() - before < ROOM
        row.lost, row.remark = "nothing", f"{summary(heard)}; seed {seed}"


def summary(heard: Heard) -> str:
    words = [f"{number:,} {name}" for name, number in heard.kinds.most_common() if name != "Failed"]
    codes = [f"{number:,} {code}" for code, number in heard.codes.most_common()]
    return f"refused: {', '.join(codes)}; answered: {', '.join(words)}; {heard.closed:,} connections closed"


def told(heard: Heard) -> str:
    return "\n".join(f"{why}\n  {codec.decode(frame)[1]}" for why, frame in heard.bugs.items())


@pytest.mark.parametrize("target", [FAKE], indirect=True, ids=["fake"])
class TestOneConnection:
    """What no fuzzer finds by chance."""

    def test_a_request_sent_twice_is_refused_and_the_first_can_still_be_cancelled(self, target: Target) -> None:
        target.ask(LoadScene("forever", small_cloud(0)))
        channel = target.connected()
        for _ in range(2):
            channel.send(7, Train("forever"))
        assert _next_final(channel)[1].code == "wire"
        channel.close()  # which cancels the first: the backend trains no more
        while isinstance(said := target.ask(Train("good", "", dataclasses.replace(SMALL, steps=1))), Failed):
            assert said.code == "busy"  # until it has noticed
        assert isinstance(said, Trained)

    def test_lengths_that_promise_more_than_comes_are_not_allocated(self, target: Target) -> None:
        before = target.memory("VmSize")
        channels = []
        for size in ((2**31 - 1).to_bytes(4, "big"), b"\xff\xff\xff\xff" + codec.MAX_FRAME.to_bytes(8, "big")):
            channels.append(target.connected())
            channels[-1]._socket.sendall(size + b"not as much")
        assert answer(target)[0] == 1
        assert target.memory("VmSize") - before < 1 << 29  # stacks of threads, not gigabytes
        for channel in channels:
            channel.close()

    @pytest.mark.parametrize("size", [b"\xff\xff\xff\xff" + (codec.MAX_FRAME + 1).to_bytes(8, "big"), b"\x80\0\0\0"])
    def test_lengths_beyond_the_limit_close_the_connection(self, target: Target, size: bytes) -> None:
        channel = target.connected()
        channel._socket.sendall(size)
        with pytest.raises(ChannelClosed):
            channel.receive()
        assert answer(target)[0] == 1


def _next_final(channel: Channel) -> tuple[int, object]:
    timer = threading.Timer(SECONDS, channel.close)
    timer.start()
    try:
        while True:
            message_id, said = channel.receive()
            if isinstance(said, Failed):
                return message_id, said
    finally:
        timer.cancel()


def test_the_frames_are_what_they_shall_be(seed: int) -> None:
    """Half of the wild requests can be read: they are refused for what they say, not for how."""
    fuzzer = Fuzzer(seed, requests("toy", "folder"))
    readable = 0
    for number in range(1, 400):
        with contextlib.suppress(codec.WireError):
            readable += codec.decode(fuzzer.harmless(fuzzer.spoilt, number))[0] == number
    assert readable > 200
    assert np.all(np.isfinite(small_cloud(0).means))
