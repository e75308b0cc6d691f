"""Make a release of a clean checkout: version, changelog, zip, commit, tag. It publishes nothing.

Usage: `.venv/bin/python scripts/release.py 0.2.0 [--out-dir dist] [--dry-run]`. The version goes into
`blender_manifest.toml`, the only source of the version; the changelog's section "Unreleased" gets the version and the
date. A dry run makes the same checks and builds the zip, then restores both files.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import build_extension

ROOT = Path(__file__).resolve().parents[1]
MANIFEST, CHANGELOG = ROOT / "blender_manifest.toml", ROOT / "CHANGELOG.md"
UNRELEASED = "## [Unreleased]\n"
_VERSION_LINE = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)


class ReleaseError(Exception):
    """The release is not possible; the text gives the reason and the fix."""


@dataclass(frozen=True)
class Texts:
    """The texts of manifest and changelog."""

    manifest: str
    changelog: str

    @classmethod
    def read(cls) -> Texts:
        """Read both files."""
        return cls(MANIFEST.read_text(encoding="utf-8"), CHANGELOG.read_text(encoding="utf-8"))

    def write(self) -> None:
        """Write both files."""
        MANIFEST.write_text(self.manifest, encoding="utf-8")
        CHANGELOG.write_text(self.changelog, encoding="utf-8")

    def released(self, version: str, day: datetime.date) -> Texts:
        """The texts after the release of `version`.

        Raises:
            ReleaseError: if the changelog has no changes, or the manifest no version.
        """
        before, head, after = self.changelog.partition(UNRELEASED)
        notes = after.partition("\n## ")[0]
        if not head or not notes.strip():
            raise ReleaseError(f'{CHANGELOG.name} has nothing under "Unreleased". Describe the changes there.')
        if len(_VERSION_LINE.findall(self.manifest)) != 1:
            raise ReleaseError(f"{MANIFEST.name} has no single line with the version. Correct that first.")
        changelog = f"{before}{head}\n## [{version}] - {day.isoformat()}\n{after}"
        return Texts(_VERSION_LINE.sub(f'version = "{version}"', self.manifest), changelog)

    def version(self) -> tuple[int, ...]:
        """The version in the manifest."""
        return _numbers(_VERSION_LINE.findall(self.manifest)[0])


def check(version: str, now: Texts) -> None:
    """Refuse the release of a checkout with changes, or of a version that is not new.

    Raises:
        ReleaseError: with the obstacle.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ReleaseError(f"{version} is not a version. Give three numbers, such as 0.2.0.")
    if changed := _git("status", "--porcelain"):
        raise ReleaseError(f"The checkout is not clean. Commit or remove these changes first:\n{changed}")
    if f"v{version}" in _git("tag", "--list").split():
        raise ReleaseError(f"The tag v{version} exists already. Give the next version.")
    if _numbers(version) < now.version():
        raise ReleaseError(f"{version} is older than the manifest's version. Give a newer one.")


def release(version: str, out_dir: Path, day: datetime.date) -> Path:
    """Write the version, build the zip, commit and tag; returns the zip.

    Raises:
        ReleaseError: if there is an obstacle; nothing changes.
        build_extension.BuildError: if the zip cannot be built; nothing changes.
    """
    before = Texts.read()
    zip_path = _build(version, out_dir, day, keep=True)
    try:
        _git("commit", "--quiet", "--message", f"Version {version}", "--", MANIFEST.name, CHANGELOG.name)
    except ReleaseError:
        before.write()
        raise
    _git("tag", "--annotate", "--message", f"Version {version}", f"v{version}")
    return zip_path


def rehearse(version: str, day: datetime.date) -> None:
    """Make all checks and build the zip, but keep nothing.

    Raises:
        ReleaseError, build_extension.BuildError: see `release`.
    """
    with tempfile.TemporaryDirectory(prefix="blender_saga_release_") as folder:
        _build(version, Path(folder), day, keep=False)


def _build(version: str, out_dir: Path, day: datetime.date, keep: bool) -> Path:
    """Build the zip of a version; `keep`: keep the new texts in the two files."""
    before = Texts.read()
    check(version, before)
    after = before.released(version, day)
    built = False
    try:
        after.write()
        path = build_extension.build(out_dir)
        built = True
        return path
    finally:
        if not (keep and built):
            before.write()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _git(*words: str) -> str:
    """Run git; returns its output.

    Raises:
        ReleaseError: if git fails.
    """
    result = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
    if result.returncode != 0:
        raise ReleaseError(f"git {words[0]} failed: {result.stderr.strip()}")
    return result.stdout.strip()


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Make a release of a clean checkout.")
    parser.add_argument("version", help="three numbers, such as 0.2.0")
    parser.add_argument("--out-dir", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    parser.add_argument("--dry-run", action="store_true", help="check and build only, change nothing")
    options = parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        if options.dry_run:
            rehearse(options.version, today)
            print(f"Version {options.version} can be released: nothing was changed.")
        else:
            path = release(options.version, options.out_dir, today)
            print(f"Committed and tagged v{options.version}, built {path}. To publish: git push --follow-tags.")
    except (ReleaseError, build_extension.BuildError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
