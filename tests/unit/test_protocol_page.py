"""docs/developer/protocol.md names what there is."""

from __future__ import annotations

import re

from blender_saga.errors import ErrorCode
from blender_saga.wire.messages import PROTOCOL_VERSION, Part, all_replies, all_requests
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "developer" / "protocol.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([A-Za-z_:]+)`", PAGE))


def test_every_message_and_part_is_named() -> None:
    assert {kind.__name__ for kind in (*all_requests(), *all_replies(), *Part.__subclasses__())} <= NAMED


def test_the_table_says_what_the_classes_say() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .* \| ([a-z ]+) \|$", PAGE, re.MULTILINE)
    assert rows == [(kind.__name__, kind.reply.__name__, kind.lane.value) for kind in all_requests()]
    extra = {"Progress", "Failed", "Stopped"}
    assert {reply for _, reply, _ in rows} | extra == {kind.__name__ for kind in all_replies()}


def test_it_tells_the_version() -> None:
    assert f"(now {PROTOCOL_VERSION})" in PAGE


def test_codes_it_names_exist() -> None:
    codes = re.findall(r"`([a-z_]+)`", PAGE.partition("and a code:")[2].partition("## Selecting")[0])
    assert len(codes) > 8 and not set(codes) - {code.value for code in ErrorCode}
