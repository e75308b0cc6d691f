"""Print the trip of a click through the backend: which rooms and files it enters, from the socket to the answer.

Usage: `.venv/bin/python scripts/trip.py` (about half a minute; `--json` prints the numbers alone). A real server runs
in this process. It loads the synthetic scene, trains a little and answers two clicks; the second one is followed with
`sys.setprofile` in every thread of the server, so that nothing is counted that is compiled or imported once.

How it is counted:

- A *room* is a folder of the backend, or `wire`, `gaussians` or `errors` of the add-on. Other packages are no rooms:
  what they call back counts as called by who called them.
- A *move* is a call of which the caller stands in another file. The way back is none.
- A *visit* of a room begins when a call comes into it from another room. What the room calls in itself belongs to the
  visit. A return to the caller belongs to the caller's visit, and if the caller calls the same room again before it
  turns to a third one, that visit goes on: to ask a neighbor two questions in a row is one visit.
- A *look* is a visit in which only values tell something of themselves: methods of a dataclass (`View.contains`,
  `len(cloud)`) that turn to no other room. Values travel with the trip, so that a look goes nowhere; looks are printed
  in parentheses and counted apart.
- The trip begins in `serving`, whose threads wait for it. A thread that takes it over goes on with that visit. When the
  server's thread turns to the next request, that is not this trip.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from types import CodeType, FrameType

import numpy as np

from blender_saga.wire.channel import Channel, Listener, connect, open_socket
from blender_saga.wire.messages import Click, LoadScene, ObjectPoints, Prompt, Selection, Train, TrainSettings
from saga_backend.common.device import find_device
from saga_backend.evaluation.metrics import deepest_pixel
from saga_backend.evaluation.simulated import label_maps
from saga_backend.evaluation.synthetic import LabeledScene, standard_scene
from saga_backend.rasterizer.cpu import all_pixels, contributions
from saga_backend.serving.server import Server
from saga_backend.serving.session import Session

ROOT = Path(__file__).resolve().parents[1]
HOUSES = (ROOT / "backend" / "saga_backend", ROOT / "blender_saga")
START = "serving"
_NEXT = Channel.receive  # begun while the trip is recorded, it waits for another request


@dataclass(eq=False)
class Visit:
    """A stay in a room.

    Attributes:
        room: its name.
        files: those whose functions ran, in the order of their first call, with how often.
        inside: the visits that were made from it, in order.
        works: whether anything ran in it but methods of values.
    """

    room: str
    files: Counter[str] = field(default_factory=Counter)
    inside: list[Visit] = field(default_factory=list)
    works: bool = False

    @property
    def is_look(self) -> bool:
        """Whether only values told something of themselves here."""
        return not self.works and not self.inside

    def enter(self, room: str) -> Visit:
        """The visit to which a call from here into a room belongs."""
        if room == self.room:
            return self
        if not self.inside or self.inside[-1].room != room:
            self.inside.append(Visit(room))
        return self.inside[-1]


_ELSEWHERE = Visit("elsewhere")


def _of_a_value(frame: FrameType) -> bool:
    """Whether a function is a method of a dataclass."""
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return names[:1] == ("self",) and is_dataclass(frame.f_locals["self"])


class Recorder:
    """Follows calls of all threads but the one that made it, from `start` on."""

    def __init__(self) -> None:
        self.trip = Visit(START)
        self.moves = 0
        self._visits: dict[FrameType, Visit] = {}
        self._names: dict[CodeType, str] = {}
        self._lock, self._client = threading.Lock(), threading.get_ident()

    def start(self) -> None:
        """Begin to record."""
        threading.setprofile_all_threads(self._event)

    def stop(self) -> None:
        """End it."""
        threading.setprofile_all_threads(None)

    def _event(self, frame: FrameType, event: str, _: object) -> None:
        if event not in ("call", "return") or threading.get_ident() == self._client:
            return
        name = self._name(frame.f_code)
        if not name:
            return
        with self._lock:
            if event == "return":
                self._visits.pop(frame, None)
            else:
                self._call(frame, name)

    def _call(self, frame: FrameType, name: str) -> None:
        caller = frame.f_back
        while caller is not None and not self._name(caller.f_code):
            caller = caller.f_back
        visit = self.trip if caller is None else self._visits.get(caller, self.trip)
        if frame.f_code is _NEXT.__code__ or visit is _ELSEWHERE:
            self._visits[frame] = _ELSEWHERE
            return
        here = visit.enter(name.split("/")[0])
        here.files[name] += 1
        here.works |= not _of_a_value(frame)
        self._visits[frame] = here
        before = self._name(caller.f_code) if caller is not None else name
        if before != name:
            self.moves += 1

    def _name(self, code: CodeType) -> str:
        """ROOM/FILE.py of code of ours, else ""."""
        if code not in self._names:
            path = Path(code.co_filename)
            house = next((house for house in HOUSES if path.is_relative_to(house)), None)
            relative = path.relative_to(house).as_posix() if house else ""
            self._names[code] = "errors/errors.py" if relative == "errors.py" else relative
        return self._names[code]


@dataclass(frozen=True)
class Trip:
    """What was counted: visits and looks by room, files entered, moves between files."""

    visits: dict[str, int]
    looks: dict[str, int]
    files: int
    moves: int


def all_visits(visit: Visit) -> list[Visit]:
    """A visit and those made from it, in the order in which they began."""
    return [visit, *(each for inner in visit.inside for each in all_visits(inner))]


def count(recorder: Recorder) -> Trip:
    """Sum up what was recorded."""
    everything = all_visits(recorder.trip)
    looks = Counter(visit.room for visit in everything if visit.is_look)
    visits = Counter(visit.room for visit in everything if not visit.is_look)
    files = {name for visit in everything for name in visit.files}
    return Trip(dict(visits.most_common()), dict(looks.most_common()), len(files), recorder.moves)


def record() -> Recorder:
    """Serve, load, train, click twice; the second click recorded."""
    scene = standard_scene(objects=4, views=8, seed=0)
    key = secrets.token_bytes(32)
    listener = Listener(key)
    # Without the warm-up, whose own thread would be followed as well.
    server = Server(listener, "cpu", lambda wanted: (find_device(wanted), Session(wanted)))
    channel = open_socket(listener.address)
    connect(channel, key)
    _ask(channel, 1, LoadScene("trip", scene.cloud))
    _ask(channel, 2, Train("trip", settings=TrainSettings(steps=60, views=12, width=120, height=90)))
    whole = (ObjectPoints(np.eye(4), np.arange(len(scene.cloud), dtype=np.int32)),)  # as Blender sends it
    first, second = (Click("trip", (Prompt(scene.views[0], pixel),), whole) for pixel in _pixels(scene))
    _ask(channel, 3, first)
    recorder = Recorder()
    recorder.start()
    answer = _ask(channel, 4, second)
    recorder.stop()
    server.close()
    assert isinstance(answer, Selection) and 0 < answer.count < answer.total, answer
    return recorder


def _ask(channel: Channel, number: int, request: object) -> object:
    """The answer to a request; progress is passed over."""
    channel.send(number, request)
    while True:
        _, said = channel.receive()
        if type(said).__name__ == "Failed":
            raise SystemExit(f"{type(request).__name__}: {said}")
        if type(said).__name__ != "Progress":
            return said


def _pixels(scene: LabeledScene) -> list[np.ndarray]:
    """[1,2] float32 each: the middles of the two largest objects in the first view."""
    view = scene.views[0]
    objects = scene.labels[:, :1]
    (shown,) = label_maps(contributions(scene.cloud, view, all_pixels(view)), objects, view.height, view.width)
    labels, areas = np.unique(shown[shown > 0], return_counts=True)
    largest = labels[np.argsort(-areas)[:2]]
    return [deepest_pixel(shown == label)[None].astype(np.float32) for label in largest]


def tell(recorder: Recorder) -> None:
    """Print the trip: a line a visit, deeper where it was made from; then the numbers."""

    def show(visit: Visit, depth: int) -> None:
        files = ", ".join(name.partition("/")[2].removesuffix(".py") for name in visit.files)
        line = f"({visit.room}: {files})" if visit.is_look else f"{visit.room}: {files}"
        print("    " * depth + line)
        for inner in visit.inside:
            show(inner, depth + 1)

    show(recorder.trip, 0)
    trip = count(recorder)
    print(f"\n{trip.files} files, {trip.moves} moves between files")
    for name, rooms in (("visits", trip.visits), ("looks", trip.looks)):
        print(f"{sum(rooms.values())} {name}: " + ", ".join(f"{room} {times}" for room, times in rooms.items()))


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Print the trip of a click through the backend.")
    parser.add_argument("--json", action="store_true", help="print the numbers alone, as one line of JSON")
    options = parser.parse_args()
    recorder = record()
    if options.json:
        print(json.dumps(asdict(count(recorder))))
    else:
        tell(recorder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
