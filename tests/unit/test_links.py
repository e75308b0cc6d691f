"""Every link of a page leads somewhere: to a file of the repository, and there to a heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = {"user", "developer", "measurements", "pictures"}
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")


def prose(page: Path) -> str:
    """A page without its blocks of code, in which brackets are no links."""
    return _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def links(text: str) -> list[str]:
    """Where the links of a text lead, without those that leave the repository."""
    return [link for link in _LINK.findall(_CODE.sub("", text)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the forges make them from their words."""
    headings = re.findall(r"^#+ +(.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken(page: Path) -> Iterator[str]:
    for link in links(prose(page)):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.is_relative_to(ROOT) or not target.exists():
            yield link
        elif anchor and anchor not in anchors(target):
            yield f"{link} (no such heading)"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_pages_named_without_a_link_exist() -> None:
    """Help texts, comments and tables name a page by its path; a page that moved would leave them behind."""
    folders = (ROOT / name for name in ("blender_saga", "backend", "scripts", "tests", "docs"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md")]
    lines = [(path, line) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    ours = [(path, line) for path, line in lines if "://" not in line]  # a page of another project
    named = [(path.name, name) for path, line in ours for name in re.findall(r"\bdocs/[\w/]+\.md", line)]
    assert len(named) > 10
    assert [f"{path}: {name}" for path, name in named if not (ROOT / name).is_file()] == []


def test_a_page_stands_where_its_reader_looks() -> None:
    assert {path.name for path in (ROOT / "docs").iterdir()} == FOLDERS


def test_the_reader_of_links_sees_what_is_broken(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A head, line\n[a](page.md#a-head-line) ![b](gone.png) `[c](code)`\n", encoding="utf-8")
    assert anchors(page) == {"a-head-line"} and links(prose(page)) == ["page.md#a-head-line", "gone.png"]
