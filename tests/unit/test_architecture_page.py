"""docs/developer/architecture.md has a row for each room, with the sentence that the room says of itself."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.unit.test_structure import HOUSES

PAGE = (ROOT / "docs" / "developer" / "architecture.md").read_text(encoding="utf-8")
ONE_SCREEN = 80  # lines


def sentence(room: Path) -> str:
    """The first paragraph of a room's docstring, on one line."""
    file = room if room.suffix else room / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


@pytest.mark.parametrize(("house", "rooms"), HOUSES, ids=("backend", "addon"))
def test_each_room_has_a_row_with_its_own_sentence_from_the_bottom_up(house: Path, rooms: tuple[str, ...]) -> None:
    section = PAGE.partition(f"`{house.relative_to(ROOT).as_posix()}/`\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(room if room.endswith(".py") else f"{room}/", sentence(house / room)) for room in rooms]


def test_it_fits_on_one_screen() -> None:
    assert len(PAGE.splitlines()) <= ONE_SCREEN


def test_files_that_it_names_exist() -> None:
    places = (ROOT, *(house for house, _ in HOUSES))
    named = set(re.findall(r"`(?:\S*python )?([\w/]+\.py)`", PAGE))
    assert len(named) > 5
    assert [name for name in named if not any((place / name).is_file() for place in places)] == []
