"""The benchmark rows that need Blender run and print what others can read; a click's row has a backend of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .support import ROOT


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
        assert all(lines[0][stage] > 0 for stage in stages)
        assert sum(lines[0][stage] for stage in stages) < 3 * lines[0]["ready_to_draw_ms"]
