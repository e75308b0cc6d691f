"""docs/developer/protocol.md names what there is."""

from __future__ import annotations

import re

import protocol_table
from blender_saga.errors import ErrorCode
from blender_saga.wire.messages import (
    PROTOCOL_VERSION,
    Failed,
    Part,
    Progress,
    Stopped,
    all_replies,
    all_requests,
)
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "developer" / "protocol.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([A-Za-z_:]+)`", PAGE))


def test_every_message_and_part_is_named() -> None:
    assert {kind.__name__ for kind in (*all_requests(), *all_replies(), *Part.__subclasses__())} <= NAMED


def test_the_table_is_that_of_the_classes() -> None:
    """`scripts/protocol_table.py` writes it."""
    assert protocol_table.table() in PAGE
    named = {kind.reply for kind in all_requests()} | {Progress, Failed, Stopped}
    assert named == set(all_replies())  # no reply that answers nothing


def test_it_tells_the_version() -> None:
    assert f"(now {PROTOCOL_VERSION})" in PAGE


def test_codes_it_names_exist() -> None:
    codes = re.findall(r"`([a-z_]+)`", PAGE.partition("and a code:")[2].partition("## Selecting")[0])
    assert len(codes) > 8 and not set(codes) - {code.value for code in ErrorCode}
