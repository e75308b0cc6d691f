"""Write the lock files in backend/requirements from their .in files: names, versions, checksums, no addresses.

Usage, in the environment: `.venv/bin/python scripts/lock_requirements.py`. It takes the newest compatible versions; run
`scripts/test.py` before you commit the result.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "backend" / "requirements"
UV = ROOT / ".venv-uv" / ("Scripts/uv.exe" if sys.platform == "win32" else "bin/uv")


def lock(name: str, *constraints: str) -> None:
    """Resolve NAME.in for all platforms into NAME.txt, with the versions of other lock files as constraints."""
    command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.13", "--upgrade"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--generate-hashes"]
    for constraint in constraints:
        command += ["--constraint", constraint]
    subprocess.run([*command, f"{name}.in", "--output-file", f"{name}.txt"], cwd=REQUIREMENTS, check=True)
    print(f"Wrote {REQUIREMENTS / name}.txt")


def main() -> int:
    """Write all lock files; returns the exit code. Shared packages have the same versions as in the backend's file."""
    if not UV.is_file():
        print("uv is missing. Make the environment first: python3 scripts/bootstrap.py", file=sys.stderr)
        return 2
    lock("uv")
    lock("backend")
    lock("cluster", "backend.txt")
    lock("dev", "backend.txt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
