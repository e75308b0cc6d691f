"""The table of the faults: a row a case, kept as lines of JSON so that a killed run keeps its rows.

`python3 scripts/test.py --faults` prints it; docs/measurements/reliability.md holds the one of the full counts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_VARIABLE = "BLENDER_SAGA_FAULTS_TABLE"
"""Names the file that rows are appended to; unset: they are only checked."""
FULL_VARIABLE = "BLENDER_SAGA_FAULTS_FULL"
"""Set to 1 for the full counts."""
_HEAD = ("case", "survived", "seconds to a right state", "lost", "remark")


@dataclass
class Row:
    """What came of a case.

    Attributes:
        case: what was done to whom, in words and with its count ("kill -9 while it trains").
        survived: "yes", "no", or "not run" with the reason as the remark.
        seconds: from the fault until the state was right again; None where that says nothing.
        lost: what the user lost; "nothing" is the promise.
        remark: what else was measured.
    """

    case: str
    survived: str = "yes"
    seconds: float | None = None
    lost: str = ""
    remark: str = ""

    def right(self, seconds: float) -> None:
        """The state was right again after so many seconds; the slowest counts where it is said more than once."""
        self.seconds = seconds if self.seconds is None else max(self.seconds, seconds)


def write(row: Row) -> None:
    """Append a row to the file that the variable names, if there is one."""
    path = os.environ.get(FILE_VARIABLE)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def read(path: Path) -> list[Row]:
    """The rows of a file, in their order; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def markdown(rows: Iterable[Row]) -> str:
    """The table as it stands in docs/measurements/reliability.md."""
    cells = [_HEAD, ("---",) * len(_HEAD)]
    for row in rows:
        seconds = "" if row.seconds is None else f"{row.seconds:.2f}"
        cells.append((row.case, row.survived, seconds, row.lost, row.remark.replace("\n", " ").replace("|", "/")))
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
