"""Audit what users install: pins and checksums, licenses, what fits together, known vulnerabilities.

Usage, in the environment: `.venv/bin/python scripts/audit.py`. The last part asks a public database through pip-audit
(fetched by uv for the moment). Where that cannot be reached it says so, in capitals, and the rest still counts;
`--strict` makes it a failure.
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
"""Limit of the questions to the database."""

LICENSES = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla|L?GPL|GNU|zlib|CC0|CNRI|Unlicense)", re.I
)
"""Those that GPL-3.0-or-later, ours, may be used together with."""
KNOWN = {
    "cuda-toolkit": "names NVIDIA's packages, holds nothing",
    "gsplat": "Apache-2.0, by its repository",
    "hdbscan": "BSD-3-Clause, by its repository",
    "segment-anything": "Apache-2.0, by its repository",
}
"""Packages that do not say their license, and what it is."""
NVIDIA = "nvidia-"
"""CUDA's libraries: proprietary, redistributable, and optional: the backend runs without. Torch asks for them."""
_PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9a-z.]*( ; [\w .'()=!<>]+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def loose(text: str) -> list[str]:
    """Lines of a lock file that do not pin a version, or give no SHA-256 for it."""
    entries = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for entry in entries:
        pin, *hashes = entry.split("--hash=")
        sound = hashes and all(_HASH.fullmatch(f"--hash={given.strip()}") for given in hashes)
        if not sound or not _PIN.fullmatch(pin.strip()):
            found.append(entry[:100])
    return found


def license(package: metadata.Distribution) -> str:
    """What a package says of its license, "" if it says nothing."""
    about = package.metadata
    classes = [value for value in about.get_all("Classifier", []) if value.startswith("License")]
    first = (about.get("License") or "").strip().splitlines()[:1]
    return "; ".join([about.get("License-Expression") or "", *classes, *first]).strip("; ")


def objectionable(packages: Iterator[metadata.Distribution]) -> list[str]:
    """Packages whose license is not one of those above."""
    found = []
    for package in packages:
        name = package.metadata["Name"].lower().replace("_", "-")
        if not name.startswith(NVIDIA) and name not in KNOWN and not LICENSES.search(license(package)):
            found.append(f"{name}: {license(package) or 'it says none'}")
    return found


def misfits() -> list[str]:
    """What installed packages want of each other and do not get."""
    result = subprocess.run(
        [str(UV), "pip", "check", "--python", sys.executable], capture_output=True, text=True, check=False
    )
    return [] if result.returncode == 0 else [result.stderr.strip()]


def vulnerabilities(lock: str) -> tuple[list[str], str]:
    """Known ones of a lock file's packages, and why the database could not be asked, or ""."""
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
    return [], (last or ["it said nothing"])[0][:300]


def offline() -> dict[str, list[str]]:
    """What can be found without a network, by what was looked at."""
    found = {
        f"pins and checksums of {name}": loose((REQUIREMENTS / name).read_text(encoding="utf-8")) for name in LOCKS
    }
    found["licenses"] = objectionable(metadata.distributions())
    found["what fits together"] = misfits()
    return found


def main() -> int:
    """Look at all of it; 1 if something was found, 2 with --strict if the database was not reached."""
    parser = argparse.ArgumentParser(description="Audit what users install.")
    parser.add_argument("--strict", action="store_true", help="fail where the database cannot be reached")
    strict = parser.parse_args().strict
    bad = False
    for what, found in offline().items():
        print(f"{what}: {'fine' if not found else ''}", *found, sep="\n  " if found else "")
        bad = bad or bool(found)
    found, obstacle = vulnerabilities("dev.txt")  # which holds all of the others
    if obstacle:
        print(f"KNOWN VULNERABILITIES WERE NOT LOOKED FOR: {obstacle}")
    else:
        print("known vulnerabilities:", *(found or ["none"]), sep="\n  " if found else " ")
    return 1 if bad or found else 2 if obstacle and strict else 0


if __name__ == "__main__":
    sys.exit(main())
