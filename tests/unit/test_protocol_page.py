"""docs/developer/protocol.md names what there is."""

from __future__ import annotations

import re

from blender_saga.errors import ErrorCode
from blender_saga.wire.messages import PARTS, PROTOCOL_VERSION, REPLIES, REQUESTS
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "developer" / "protocol.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([A-Za-z_:]+)`", PAGE))


def test_every_message_and_part_is_named() -> None:
    assert {kind.__name__ for kind in (*REQUESTS, *REPLIES, *PARTS)} <= NAMED


def test_the_table_has_a_row_for_every_request() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert [request for request, _ in rows] != [] and {r for r, _ in rows} == {kind.__name__ for kind in REQUESTS}
    assert {reply for _, reply in rows} | {"Progress", "Failed", "Stopped"} == {kind.__name__ for kind in REPLIES}


def test_it_tells_the_version() -> None:
    assert f"(now {PROTOCOL_VERSION})" in PAGE


def test_codes_it_names_exist() -> None:
    codes = re.findall(r"`([a-z_]+)`", PAGE.partition("and a code:")[2].partition("## Selecting")[0])
    assert len(codes) > 8 and not set(codes) - {code.value for code in ErrorCode}
