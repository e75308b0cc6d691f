"""The benchmark rows that need Blender run and print what others can read; a click's row has a backend of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.paths import ROOT

ROUNDING = 0.02  # of milliseconds with two digits


@pytest.mark.parametrize("row", ["click_blender", "click_training", "selection_write"])
def test_a_row_runs_and_is_json(row: str) -> None:
    pytest.importorskip("torch", reason="needs the backend's packages")
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), row, "--as-is", "--quick"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "no way to draw" in result.stderr or "gpu.init" in result.stderr:
        pytest.skip("Blender finds no way to draw without a window here")
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [line["bench"] for line in lines] == [row]
    assert 0 < lines[0]["best_ms"] <= lines[0]["median_ms"] <= lines[0]["p90_ms"]
    if row == "click_blender":
        stages = ("ask_ms", "backend_ms", "write_ms", "draw_data_ms")
        row = lines[0]
        assert all(0 < row[stage] <= row["median_ms"] + ROUNDING for stage in stages)  # a part of each click
        assert row["draw_data_ms"] <= row["ready_to_draw_ms"] + ROUNDING <= row["median_ms"] + 2 * ROUNDING
