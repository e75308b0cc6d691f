"""Where things lie that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""Of the repository."""
DATA = ROOT.parent / "shared" / "data"
"""Real data, beside the repository."""
