"""Make a release of a clean checkout: version, changelog, zip, commit, tag. Nothing is sent anywhere.

Usage: `.venv/bin/python scripts/release.py 0.2.0 [--out-dir dist] [--dry-run]`. The version is written to
`blender_manifest.toml`, where everything else reads it; what the changelog has under "Unreleased" gets the version and
the date. A dry run checks the same and builds the zip, then puts both files back.
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
    """The release cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class Texts:
    """What the two files say."""

    manifest: str
    changelog: str

    @classmethod
    def read(cls) -> Texts:
        """As they are."""
        return cls(MANIFEST.read_text(encoding="utf-8"), CHANGELOG.read_text(encoding="utf-8"))

    def write(self) -> None:
        """Put them there."""
        MANIFEST.write_text(self.manifest, encoding="utf-8")
        CHANGELOG.write_text(self.changelog, encoding="utf-8")

    def released(self, version: str, day: datetime.date) -> Texts:
        """As they are to be once `version` is out.

        Raises:
            ReleaseError: if there is nothing to release.
        """
        before, head, after = self.changelog.partition(UNRELEASED)
        notes = after.partition("\n## ")[0]
        if not head or not notes.strip():
            raise ReleaseError(f'{CHANGELOG.name} has nothing under "Unreleased". Write down what has changed.')
        if len(_VERSION_LINE.findall(self.manifest)) != 1:
            raise ReleaseError(f"{MANIFEST.name} has no single line with the version. Put that right first.")
        changelog = f"{before}{head}\n## [{version}] - {day.isoformat()}\n{after}"
        return Texts(_VERSION_LINE.sub(f'version = "{version}"', self.manifest), changelog)

    def version(self) -> tuple[int, ...]:
        """The manifest's."""
        return _numbers(_VERSION_LINE.findall(self.manifest)[0])


def check(version: str, now: Texts) -> None:
    """Refuse a release that would not be of what is committed, or not newer than the last one.

    Raises:
        ReleaseError: with what is in the way.
    """
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ReleaseError(f"{version} is no version. Give three numbers, such as 0.2.0.")
    if changed := _git("status", "--porcelain"):
        raise ReleaseError(f"The checkout is not clean. Commit or remove first:\n{changed}")
    if f"v{version}" in _git("tag", "--list").split():
        raise ReleaseError(f"The tag v{version} exists already. Give the next version.")
    if _numbers(version) < now.version():
        raise ReleaseError(f"{version} is older than the manifest's version. Give a newer one.")


def release(version: str, out_dir: Path, day: datetime.date) -> Path:
    """Write the version, build the zip, commit and tag; returns the zip.

    Raises:
        ReleaseError: if something is in the way; then nothing has changed.
        build_extension.BuildError: if the zip cannot be built; then nothing has changed.
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
    """Check everything and build the zip, but leave nothing behind.

    Raises:
        ReleaseError, build_extension.BuildError: see `release`.
    """
    with tempfile.TemporaryDirectory(prefix="blender_saga_release_") as folder:
        _build(version, Path(folder), day, keep=False)


def _build(version: str, out_dir: Path, day: datetime.date, keep: bool) -> Path:
    """The zip of a version; `keep`: whether the two files stay as they are in it."""
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
    """What git prints.

    Raises:
        ReleaseError: if it refuses.
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
