"""The backend's requirements name the packages that it imports, and no others."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.paths import ROOT

BACKEND = ROOT / "backend"
OWN = {"saga_backend", "blender_saga"}
OPTIONAL = {
    "ray": "masks on a cluster; cluster.in lists it for those who have one",
    "zstandard": "SPZ 4 outside of Blender and below Python 3.14; an error names it where it is missing",
}
"""Packages that work without, and why they are not installed for everybody."""


def imported(*folders: Path) -> set[str]:
    """The first names of absolute imports, with those inside functions and those by `import_module`."""
    found: set[str] = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                found |= {str(name.value) for name in node.args[:1] if isinstance(name, ast.Constant)}
    return {name.partition(".")[0] for name in found} - set(sys.stdlib_module_names) - {"compression"}  # of Python 3.14


def distribution(package: str) -> str:
    """The name under which a package is installed, as lock files spell it: "PIL" is "pillow"."""
    return packages_distributions()[package][0].lower().replace("_", "-")


def required(name: str) -> set[str]:
    lines = (BACKEND / "requirements" / name).read_text(encoding="utf-8").split()
    return {line.partition("==")[0].lower().replace("_", "-") for line in lines}


def test_the_requirements_are_the_packages_that_are_imported() -> None:
    shared = [ROOT / "blender_saga" / room for room in ("wire", "gaussians")]
    names = imported(BACKEND, *shared)
    assert names >= OPTIONAL.keys(), "a package that nobody imports needs no reason"
    assert {distribution(name) for name in names - OWN - OPTIONAL.keys()} == required("backend.in")
    assert required("cluster.in") == {"ray"}
