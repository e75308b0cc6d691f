"""What the extension's zip holds, read from the lists that it is built by: all that users run, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import build_extension
from tests.paths import ROOT

CONTENTS = build_extension.contents()
NAMES = {name.as_posix() for name in CONTENTS.values()}
BACKEND = "backend/saga_backend/"
ONLY_IN_A_CHECKOUT = {
    ("cli/main.py", "cli/evaluate_options.py"),
    ("cli/inputs.py", "evaluation/simulated.py"),
    ("cli/masks_run.py", "masks/ray_engine.py"),
}
"""Who imports what the zip leaves out: where it is not there, the first does not offer it, the others say so."""


def test_the_zip_holds_these_folders_and_no_others() -> None:
    folders = {PurePosixPath(name).parent for name in NAMES}
    rooms = {folder.parts[2] for folder in folders if folder.is_relative_to(BACKEND) and len(folder.parts) > 2}
    assert rooms == {
        "common", "rasterizer", "cameras", "masks", "segments", "methods", "model", "selection", "training", "text",
        "serving", "cli",
    }  # fmt: skip
    tops = {folder.parts[0] for folder in folders if folder.parts}
    assert tops == {"wire", "gaussians", "client", "scene", "viewport", "ui", "backend"}
    inside = {str(folder) for folder in folders if folder.parts[:1] == ("backend",) and len(folder.parts) < 3}
    assert inside == {"backend", "backend/requirements", BACKEND.rstrip("/")}
    assert {name for name in NAMES if "/" not in name} == {
        "__init__.py", "errors.py", "blender_manifest.toml", "LICENSE", "README.md",
    }  # fmt: skip


def test_nothing_is_in_it_that_only_developers_run() -> None:
    parts = {part for name in NAMES for part in PurePosixPath(name).parts}
    assert not parts & {"evaluation", "tools", "ray_engine.py", "tests", "scripts", "docs", "__pycache__"}
    assert not [part for part in parts if part.startswith(("evaluate_", "evaluate.", "bench", "tiny_", "tabletop"))]
    requirements = {name for name in NAMES if name.startswith("backend/requirements/")}
    assert requirements == {"backend/requirements/backend.txt", "backend/requirements/uv.txt"}


def test_every_module_is_in_it_but_those_that_the_list_leaves_out() -> None:
    left_out = {path for pattern in build_extension.LEFT_OUT for path in ROOT.glob(pattern)}
    modules = {path for folder in ("blender_saga", "backend") for path in (ROOT / folder).rglob("*.py")}
    assert modules - left_out == {path for path in CONTENTS if path.suffix == ".py"}


def relative_imports(path: Path) -> Iterator[tuple[Path, bool]]:
    """The files of the repository that a file imports relatively, and whether it does so while it is imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    at_once = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        targets = (base.with_suffix(".py"), base / "__init__.py", *(base / f"{a.name}.py" for a in node.names))
        yield from ((target, id(node) in at_once) for target in targets if target.is_file())


def test_the_zip_imports_only_what_it_holds() -> None:
    missing = set()
    for path in (path for path in CONTENTS if path.suffix == ".py"):
        for target, at_once in relative_imports(path):
            if target not in CONTENTS:
                pair = [file.relative_to(ROOT / BACKEND).as_posix() for file in (path, target)]
                missing.add((pair[0], pair[1]))
                assert not at_once, f"{path} cannot be imported in the zip: {target} is not in it"
    assert missing == ONLY_IN_A_CHECKOUT


def test_a_list_that_matches_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_extension, "LEFT_OUT", ("backend/saga_backend/gone/*.py",))
    with pytest.raises(build_extension.BuildError, match=r"name backend/saga_backend/gone/\*\.py"):
        build_extension.contents()
