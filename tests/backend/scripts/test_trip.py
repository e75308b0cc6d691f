"""A click's trip goes through each room of the backend once or twice, not back and forth."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.paths import ROOT

MOST_VISITS = 2
MOST_FILES, MOST_MOVES = 26, 60
"""Not much above what docs/developer/architecture.md says, so that a longer trip is noticed."""


def test_a_click_visits_each_room_at_most_twice() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "trip.py"), "--json"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    trip = json.loads(told.stdout)
    assert {"serving", "wire", "selection", "rasterizer", "model", "segments"} <= trip["visits"].keys()
    assert {room: times for room, times in trip["visits"].items() if times > MOST_VISITS} == {}
    assert trip["files"] <= MOST_FILES and trip["moves"] <= MOST_MOVES
