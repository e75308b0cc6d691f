"""Write the table of requests in docs/developer/protocol.md from the message classes.

Usage, in the environment: `.venv/bin/python scripts/protocol_table.py`. A test compares the page with the classes.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "developer" / "protocol.md"
HEAD = "| request | reply | what it asks | lane |\n|---|---|---|---|\n"


def table() -> str:
    """A table with a row for every request: its reply, the first sentence of its docstring, its lane."""
    from blender_saga.wire.messages import all_requests

    rows = []
    for kind in all_requests():
        paragraph = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
        what = paragraph.partition(". ")[0].rstrip(".")
        rows.append(f"| `{kind.__name__}` | `{kind.reply.__name__}` | {what} | {kind.lane.value} |\n")
    return HEAD + "".join(rows)


def main() -> None:
    """Replace the table of the page."""
    page = PAGE.read_text(encoding="utf-8")
    begin = page.index("| request | reply |")
    end = page.index("\n\n", begin) + 1
    PAGE.write_text(page[:begin] + table() + page[end:], encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
