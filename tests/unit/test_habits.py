"""What contributors lean on is right: hosted checks, hooks, the issue form, CONTRIBUTING, one way to import."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.paths import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
TIERS = {"checks", *(path.name for path in (ROOT / "tests").iterdir() if path.is_dir())}


def read(path: Path) -> dict[Any, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(job: dict[str, Any]) -> list[str]:
    """The command lines of a job."""
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_hosted_checks_run_on_three_systems_and_two_blenders() -> None:
    jobs = read(WORKFLOW)["jobs"]
    systems = ["ubuntu-latest", "windows-latest", "macos-latest"]
    assert all(jobs[name]["strategy"]["matrix"]["system"] == systems for name in ("test", "blender"))
    assert jobs["blender"]["strategy"]["matrix"]["blender"] == ["5.2", "5.3"]


def test_hosted_checks_run_commands_that_exist() -> None:
    jobs = read(WORKFLOW)["jobs"]
    lines = [line for job in jobs.values() for line in steps(job)]
    files = {word for line in lines for word in shlex.split(line) if word.startswith(("scripts/", ".ci/"))}
    assert files == {"scripts/bootstrap.py", "scripts/test.py", ".ci/run"}
    assert [name for name in files if not (ROOT / name).is_file()] == []
    named = {tier for choice in jobs["test"]["strategy"]["matrix"]["tiers"] for tier in choice.split()}
    assert named | {"blender"} <= TIERS


@pytest.mark.parametrize("path", [WORKFLOW, FORM, HOOKS], ids=lambda path: path.name)
def test_nothing_names_a_place_to_download_from(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


def test_the_issue_form_asks_for_the_report() -> None:
    (field,) = (field for field in read(FORM)["body"] if field["id"] == "report")
    assert "*Copy Report*" in field["attributes"]["description"] and field["validations"]["required"]
    assert 'bl_label = "Copy Report"' in (ROOT / "blender_saga" / "ui" / "report_ops.py").read_text(encoding="utf-8")


def test_hooks_run_the_environments_ruff() -> None:
    (repository,) = read(HOOKS)["repos"]
    assert repository["repo"] == "local"
    assert {hook["entry"] for hook in repository["hooks"]} == {"python -m ruff check --fix", "python -m ruff format"}
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}


def test_tests_import_each_other_by_their_whole_name() -> None:
    """From the root, so that a file can be moved, and run alone, and found by its import."""
    own = {path.stem for path in (ROOT / "tests").rglob("*.py")} - {"__init__"}
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] in own):
                found.append(f"{path.relative_to(ROOT)}: from {'.' * node.level}{node.module} import ...")
    assert found == []


def test_contributing_names_paths_that_exist() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:blender_saga|backend|tests|scripts|docs)/[\w/.*]+)`", page))
    assert len(named) > 15
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []
