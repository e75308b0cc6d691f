"""Audit the packages that users install: pins and checksums, licenses, compatibility, known vulnerabilities.

Usage, in the environment: `.venv/bin/python scripts/audit.py`. The last part queries a public database through
pip-audit, which uv fetches temporarily. If the database cannot be reached, a line in capitals says so, and the other
parts still count; with `--strict` it is a failure.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "backend" / "requirements"
LOCKS = ("backend.txt", "cluster.txt", "dev.txt", "uv.txt")
UV = ROOT / ".venv-uv" / ("Scripts/uv.exe" if sys.platform == "win32" else "bin/uv")
PIP_AUDIT = "pip-audit==2.10.1"
SECONDS = 300
"""Limit for the queries to the database."""

LICENSES = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|L?GPL|GNU|zlib|CC0|CNRI|Unlicense)", re.I
)
"""The licenses that are compatible with ours, GPL-3.0-or-later."""
KNOWN = {
    "cuda-toolkit": "only depends on NVIDIA's packages, has no files",
    "gsplat": "Apache-2.0, by its repository",
    "hdbscan": "BSD-3-Clause, by its repository",
    "segment-anything": "Apache-2.0, by its repository",
}
"""Packages without license metadata, and their licenses."""
NVIDIA = "nvidia-"
"""The libraries of CUDA, which torch requires: proprietary, redistributable, and optional for the backend."""
_PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.]*( ; [\w .'()=!<>]+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def loose(text: str) -> list[str]:
    """The lines of a lock file without a pinned version or without its SHA-256."""
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for entry in entries:
        pin, *hashes = entry.split("--hash=")
        sound = hashes and all(_HASH.fullmatch(f"--hash={given.strip()}") for given in hashes)
        if not sound or not _PIN.fullmatch(pin.strip()):
            found.append(entry[:100])
    return found


def license(package: metadata.Distribution) -> str:
    """The license metadata of a package, "" if it has none."""
    fields = package.metadata
    classes = [value for value in fields.get_all("Classifier", []) if value.startswith("License")]
    first = (fields.get("License") or "").strip().splitlines()[:1]
    return "; ".join([fields.get("License-Expression") or "", *classes, *first]).strip("; ")


def objectionable(packages: Iterator[metadata.Distribution]) -> list[str]:
    """The packages with an incompatible or unknown license."""
    found = []
    for package in packages:
        name = package.metadata["Name"].lower().replace("_", "-")
        if not name.startswith(NVIDIA) and name not in KNOWN and not LICENSES.search(license(package)):
            found.append(f"{name}: {license(package) or 'no license metadata'}")
    return found


def misfits() -> list[str]:
    """The unmet requirements between installed packages."""
    result = subprocess.run(
        [str(UV), "pip", "check", "--python", sys.executable], capture_output=True, text=True, check=False
    )
    return [] if result.returncode == 0 else [result.stderr.strip()]


def vulnerabilities(lock: str) -> tuple[list[str], str]:
    """The known vulnerabilities of a lock file's packages; and "", or the reason why the check is impossible."""
    sys.path.insert(0, str(ROOT))
    from blender_saga.client.install.uv import uv_environ

    tool = [str(UV), "tool", "run", "--from", PIP_AUDIT, "pip-audit"]
    options = ["--disable-pip", "--require-hashes", "--vulnerability-service", "osv", "--progress-spinner", "off"]
    command = [*tool, *options, "--requirement", str(REQUIREMENTS / lock)]
    try:
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=uv_environ(UV.with_name("python")),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)[:300]
    if result.returncode == 0:
        return [], ""
    if re.search(r"^Name\s+Version\s+ID\b", result.stdout, re.MULTILINE):
        return result.stdout.strip().splitlines(), ""
    last = [line for line in result.stderr.strip().splitlines() if line.strip()][-1:]
    return [], (last or ["pip-audit printed nothing"])[0][:300]


def offline() -> dict[str, list[str]]:
    """The findings of all checks that need no network, by check."""
    found = {
        f"pins and checksums of {name}": loose((REQUIREMENTS / name).read_text(encoding="utf-8")) for name in LOCKS
    }
    found["licenses"] = objectionable(metadata.distributions())
    found["compatibility"] = misfits()
    return found


def main() -> int:
    """Run all checks; returns 1 for findings, 2 with --strict if the database cannot be reached, else 0."""
    parser = argparse.ArgumentParser(description="Audit what users install.")
    parser.add_argument("--strict", action="store_true", help="fail if the database cannot be reached")
    strict = parser.parse_args().strict
    bad = False
    for check, found in offline().items():
        print(f"{check}: {'fine' if not found else ''}", *found, sep="\n  " if found else "")
        bad = bad or bool(found)
    found, obstacle = vulnerabilities("dev.txt")  # it contains the packages of all other lock files
    if obstacle:
        print(f"KNOWN VULNERABILITIES WERE NOT CHECKED: {obstacle}")
    else:
        print("known vulnerabilities:", *(found or ["none"]), sep="\n  " if found else " ")
    return 1 if bad or found else 2 if obstacle and strict else 0


if __name__ == "__main__":
    sys.exit(main())
