"""Run the checks and the tests, tier by tier; the last line is the total.

Usage: `python3 scripts/test.py` (all tiers without a screen), `python3 scripts/test.py unit blender` (these tiers),
`--gui` (also the tests in a real Blender window), `--faults` (only the faults, which try to break a backend; with
`--gui` or tiers, also those). `--full` runs the faults with the counts of docs/measurements/reliability.md instead of
the reduced counts of CI. If the environment is missing, the script makes it first.

The commit is the seed of the random cases: each commit has its own, the same on all machines. The variable
BLENDER_SAGA_TEST_SEED sets another seed.
"""

import bootstrap

bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

import argparse  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
import xml.etree.ElementTree as ElementTree  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from pathlib import Path  # noqa: E402

import blender_window  # noqa: E402

ROOT = bootstrap.ROOT
sys.path.insert(0, str(ROOT))
from tests import seeds  # noqa: E402
from tests.faults import table  # noqa: E402

PLATFORMS = ("linux", "win32", "darwin")
"""mypy checks the types for each of them. Each has its own cache, so that mypy reads only changed files again."""
CHECKS = {
    "ruff check": ("ruff", "check", "."),
    "ruff format": ("ruff", "format", "--check", "."),
    **{
        f"mypy on {name}": (
            *("mypy", "--platform", name, "--cache-dir", f".mypy_cache/{name}"),
            *("--follow-imports", "silent", "blender_saga", "backend/saga_backend"),
        )
        for name in PLATFORMS
    },
}
TIERS = ("unit", "blender", "backend", "gpu")
LIMIT = 1200
"""Time limit of a tier, seconds, several times its usual duration. A tier that hangs is ended and counts as failed."""
GUI_LIMIT = 3 * 2400
"""The same for the real window: software draws it, and all code is compiled again."""
FAULTS_LIMIT, FULL_LIMIT = 1800, 4 * 3600
"""The same for the faults, with reduced and with full counts."""
HANG = 180
"""Seconds after which a single test prints its traceback."""
SHOWN = 40
"""Number of last lines of a failed test that the summary repeats."""


@dataclass
class Count:
    """The result of a tier."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    remark: str = ""
    failures: list[str] = field(default_factory=list)
    """The output of each failed test in pytest's report."""

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def run_checks() -> Count:
    """Style and types; each check counts as one test."""
    total, failed = Count(), []
    for name, command in CHECKS.items():
        result = _run([sys.executable, "-m", *command])
        total.passed, total.failed = total.passed + (result == 0), total.failed + (result != 0)
        failed += [name] if result else []
    total.remark = ", ".join(failed)
    return total


def run_tier(tier: str) -> Count:
    """Run the tests of a folder in a new process, because a process can load Blender as a module only once."""
    folder = ROOT / "tests" / tier
    if not any(folder.rglob("test_*.py")):
        return Count(skipped=1, remark=f"there are no tests in tests/{tier} yet")
    if tier == "gpu" and shutil.which("nvidia-smi") is None:
        return Count(skipped=1, remark="this machine has no NVIDIA GPU (no nvidia-smi)")
    if tier == "gui":
        try:
            blender_window.prepare()
        except blender_window.Unavailable as reason:
            return Count(skipped=1, remark=f"THE INTERFACE WAS NOT TESTED: {reason}")
    with tempfile.TemporaryDirectory() as temporary:
        report, rows = Path(temporary, "report.xml"), Path(temporary, "rows.jsonl")
        os.environ[table.FILE_VARIABLE] = str(rows)
        limit, hang = _limits(tier)
        options = ["-rs", "--durations=5", f"--junitxml={report}", "-o", f"faulthandler_timeout={hang}"]
        options += ["-o", "junit_logging=system-out", "-o", "junit_log_passing_tests=false"]
        options += [f"--hypothesis-seed={os.environ[seeds.SEED_VARIABLE]}"]
        result = _run([sys.executable, "-m", "pytest", str(folder), *options], limit)
        count = _read(report)
        if tier == "faults":
            print(f"\n{table.markdown(table.read(rows))}", flush=True)
    if result != 0 and count.failed == 0:  # the report does not show a crash, a time limit or missing tests
        count.failed, count.remark = 1, f"pytest ended with {result}"
    return count


def _limits(tier: str) -> tuple[int, int]:
    """The time limit of a tier, and the time after which a single test prints its traceback, seconds."""
    if tier == "faults" and os.environ[table.FULL_VARIABLE] == "1":
        return FULL_LIMIT, FULL_LIMIT
    return {"gui": GUI_LIMIT, "faults": FAULTS_LIMIT}.get(tier, LIMIT), HANG


def _run(command: list[str], limit: int = LIMIT) -> int:
    print(f"\n$ {' '.join(command[2:])}", flush=True)
    try:
        return subprocess.run(command, cwd=ROOT, timeout=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        print(f"Ended after {limit} s.", flush=True)
        return -1


def _read(report: Path) -> Count:
    if not report.exists():
        return Count()
    suite = ElementTree.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest's own
    number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
    failed = number["failures"] + number["errors"]
    failures = [_failure(case, outcome) for case in suite for outcome in case if outcome.tag in ("failure", "error")]
    return Count(max(0, number["tests"] - failed - number["skipped"]), failed, number["skipped"], failures=failures)


def _failure(case: ElementTree.Element, outcome: ElementTree.Element) -> str:
    """The name of a failed test, the end of its traceback and its output, such as the random seed."""
    lines = [*(outcome.text or "").splitlines(), *(case.findtext("system-out") or "").splitlines()]
    return "\n    ".join([f"{case.get('classname')}::{case.get('name')}", *lines[-SHOWN:]])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the checks and the tests.")
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"checks, {', '.join(TIERS)} or gui (default: all)")
    parser.add_argument("--gui", action="store_true", help="also the tests in a real Blender window")
    parser.add_argument("--faults", action="store_true", help="the faults, alone or with --gui and tiers")
    parser.add_argument("--full", action="store_true", help="the faults with full counts (hours)")
    args = parser.parse_args()
    unknown = set(args.tiers) - {"checks", *TIERS, "gui", "faults"}
    if unknown:
        parser.error(f"there is no tier {', '.join(sorted(unknown))}")
    try:
        os.environ[seeds.SEED_VARIABLE] = str(seeds.seed_of_commit())
    except ValueError as error:
        parser.error(str(error))
    if not args.tiers and (args.gui or not args.faults):
        args.tiers = ["checks", *TIERS]
    args.tiers += [name for name in ("gui", "faults") if getattr(args, name) and name not in args.tiers]
    return args


def main() -> int:
    """Run the requested tiers and print a summary; returns the exit code."""
    results: dict[str, tuple[Count, float]] = {}
    args = arguments()
    os.environ[table.FULL_VARIABLE] = "1" if args.full else "0"
    print(f"Random cases: {seeds.SEED_VARIABLE}={os.environ[seeds.SEED_VARIABLE]}", flush=True)
    for tier in args.tiers:
        start = time.monotonic()
        count = run_checks() if tier == "checks" else run_tier(tier)
        results[tier] = (count, time.monotonic() - start)
    return _print_summary(results)


def _print_summary(results: dict[str, tuple[Count, float]]) -> int:
    """Print the failures, a line for each tier and the total; returns the exit code."""
    counts = [count for count, _ in results.values()]
    for failure in (failure for count in counts for failure in count.failures):
        print(f"\nFailed: {failure}")
    print("\nSummary")
    for tier, (count, seconds) in results.items():
        print(f"  {tier:8} {count!s:40} {seconds:6.1f} s  {count.remark}")
    total = Count(*(sum(getattr(count, key) for count in counts) for key in ("passed", "failed", "skipped")))
    print(f"  {sum(seconds for _, seconds in results.values()):.0f} s in all\n\n{total}", flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
