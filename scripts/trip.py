"""Print the trip of a click through the backend: its rooms and files, from the socket to the answer.

Usage: `.venv/bin/python scripts/trip.py` (about half a minute; `--json` prints only the numbers). A real server runs in
this process. It loads the synthetic scene, trains a little and answers two clicks. `sys.setprofile` follows the second
click in all threads of the server; the first one has already compiled and imported everything.

The counts:

- A *room* is a folder of the backend, or `wire`, `gaussians` or `errors` of the add-on. Other packages are not rooms:
  a callback from one counts as a call from the code that called the package.
- A *move* is a call from one file to another. A return is not a move.
- A *visit* to a room begins with a call from another room. Calls inside the room belong to the visit. A return
  continues the caller's visit. If the caller then calls the same room again before any third room, the earlier visit
  continues: two calls in a row to one neighbor are one visit.
- A *look* is a visit that runs only methods of values, that is of dataclasses (`View.contains`, `len(cloud)`), and
  calls no other room. Values travel with the trip, so a look leads nowhere; looks are in parentheses and counted
  separately.
- The trip begins in `serving`, whose threads wait for it. A thread that takes it over continues that visit. When the
  thread of the server receives the next request, the trip does not include it.
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
_NEXT = Channel.receive  # a call during the recording waits for another request


@dataclass(eq=False)
class Visit:
    """A visit to a room.

    Attributes:
        room: name of the room.
        files: the number of calls by file, in the order of the first calls.
        inside: the visits that began from it, in order.
        works: whether a function ran in it that is not a method of a value.
    """

    room: str
    files: Counter[str] = field(default_factory=Counter)
    inside: list[Visit] = field(default_factory=list)
    works: bool = False

    @property
    def is_look(self) -> bool:
        """Whether only methods of values ran, and no other room was called."""
        return not self.works and not self.inside

    def enter(self, room: str) -> Visit:
        """The visit of a call from here to a room."""
        if room == self.room:
            return self
        if not self.inside or self.inside[-1].room != room:
            self.inside.append(Visit(room))
        return self.inside[-1]


_ELSEWHERE = Visit("elsewhere")


def _is_value_method(frame: FrameType) -> bool:
    """Whether a function is a method of a dataclass."""
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return names[:1] == ("self",) and is_dataclass(frame.f_locals["self"])


class Recorder:
    """Follows the calls of all threads except its creator's, from `start` on."""

    def __init__(self) -> None:
        self.trip = Visit(START)
        self.moves = 0
        self._visits: dict[FrameType, Visit] = {}
        self._names: dict[CodeType, str] = {}
        self._lock, self._client = threading.Lock(), threading.get_ident()

    def start(self) -> None:
        """Start the recording."""
        threading.setprofile_all_threads(self._event)

    def stop(self) -> None:
        """Stop the recording."""
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
        here.works |= not _is_value_method(frame)
        self._visits[frame] = here
        before = self._name(caller.f_code) if caller is not None else name
        if before != name:
            self.moves += 1

    def _name(self, code: CodeType) -> str:
        """ROOM/FILE.py of our code, "" of other code."""
        if code not in self._names:
            path = Path(code.co_filename)
            house = next((house for house in HOUSES if path.is_relative_to(house)), None)
            relative = path.relative_to(house).as_posix() if house else ""
            self._names[code] = "errors/errors.py" if relative == "errors.py" else relative
        return self._names[code]


@dataclass(frozen=True)
class Trip:
    """The counts of a trip: visits and looks by room, number of files, moves between files."""

    visits: dict[str, int]
    looks: dict[str, int]
    files: int
    moves: int


def all_visits(visit: Visit) -> list[Visit]:
    """A visit and all visits from it, in the order of their beginnings."""
    return [visit, *(each for inner in visit.inside for each in all_visits(inner))]


def count(recorder: Recorder) -> Trip:
    """Count the visits, looks, files and moves of a recording."""
    everything = all_visits(recorder.trip)
    looks = Counter(visit.room for visit in everything if visit.is_look)
    visits = Counter(visit.room for visit in everything if not visit.is_look)
    files = {name for visit in everything for name in visit.files}
    return Trip(dict(visits.most_common()), dict(looks.most_common()), len(files), recorder.moves)


def record() -> Recorder:
    """Start a server, load and train a scene, click twice, and record the second click."""
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
    """Send a request and wait for its answer; progress messages are skipped."""
    channel.send(number, request)
    while True:
        _, message = channel.receive()
        if type(message).__name__ == "Failed":
            raise SystemExit(f"{type(request).__name__}: {message}")
        if type(message).__name__ != "Progress":
            return message


def _pixels(scene: LabeledScene) -> list[np.ndarray]:
    """The centers [1,2] float32 of the two largest objects in the first view."""
    view = scene.views[0]
    objects = scene.labels[:, :1]
    (shown,) = label_maps(contributions(scene.cloud, view, all_pixels(view)), objects, view.height, view.width)
    labels, areas = np.unique(shown[shown > 0], return_counts=True)
    largest = labels[np.argsort(-areas)[:2]]
    return [deepest_pixel(shown == label)[None].astype(np.float32) for label in largest]


def print_trip(recorder: Recorder) -> None:
    """Print the trip with an indented line for each visit, then the numbers."""

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
    parser.add_argument("--json", action="store_true", help="print only the numbers, as one line of JSON")
    options = parser.parse_args()
    recorder = record()
    if options.json:
        print(json.dumps(asdict(count(recorder))))
    else:
        print_trip(recorder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
