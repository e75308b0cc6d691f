"""The examples of docs/user/scripting.md run as they stand there; only the paths are the test's."""

from __future__ import annotations

import re
from pathlib import Path

import bpy
import numpy as np

from tests.blender.clouds import read_inria, write_inria
from tests.blender.test_backend_flow import fake_backend, three_clusters
from tests.paths import ROOT

__all__ = ["fake_backend"]  # fixture


def test_examples_of_the_scripting_page(tmp_path: Path) -> None:
    write_inria(tmp_path / "SCENE.ply", three_clusters())
    page = (ROOT / "docs" / "user" / "scripting.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 5
    for i, example in enumerate(examples):
        script = tmp_path / f"example{i}.py"
        script.write_text(re.sub(r'"((?:SCENE|WORK|PART|CLIP)\.\w+)"', lambda m: repr(str(tmp_path / m[1])), example))
        bpy.utils.execfile(str(script))
    part = read_inria(tmp_path / "PART.ply")
    assert len(part["means"]) == 20  # the cluster of that Gaussian
    assert np.ptp(part["means"], axis=0).max() < 0.3
    assert sorted(o.name for o in bpy.context.scene.objects if o.type == "POINTCLOUD") == [
        "Object 1",
        "SCENE",
        "SCENE.001",
    ]


def test_every_parameter_of_a_training_is_on_the_page() -> None:
    page = (ROOT / "docs" / "user" / "scripting.md").read_text(encoding="utf-8")
    parameters = {name for name in bpy.ops.saga.train.get_rna_type().properties.keys() if name != "rna_type"}  # noqa: SIM118
    words = set(re.findall(r"\w+", page))
    assert len(parameters) > 10 and not parameters - words
