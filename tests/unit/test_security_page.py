"""docs/developer/security.md names tests that exist, and limits that are those of the code."""

from __future__ import annotations

import re

from blender_saga.wire import channel, codec
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "developer" / "security.md").read_text(encoding="utf-8")
TIERS = "unit|backend|blender|faults"


def test_the_tests_that_hold_it_exist() -> None:
    named = set(re.findall(rf"`((?:{TIERS})/(?:[a-z]+/)?test_[a-z_]+\*?)`", PAGE))
    assert len(named) > 15
    assert not [name for name in named if not list((ROOT / "tests").glob(f"{name}.py"))]


def test_every_row_says_who_holds_it() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    held = [row for row in rows if re.search(rf"`(?:{TIERS}|scripts)/", row)]
    assert len(held) == len(rows) - 1  # all but the head


def test_the_limits_are_those_of_the_code() -> None:
    assert (codec.MAX_HEADER, codec.MAX_FRAME, channel.HANDSHAKE_SECONDS) == (1 << 20, 1 << 32, 10)
    assert "at most 1 MiB" in PAGE and "frame at most 4 GiB" in PAGE and "10 s and 256 bytes to prove" in PAGE
    door = (ROOT / "backend" / "saga_backend" / "serving" / "handshake_queue.py").read_text(encoding="utf-8")
    assert "MOST_WAITING = 32" in door and "at most 32 clients" in PAGE
