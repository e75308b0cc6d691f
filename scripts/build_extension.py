"""Build the extension's zip: stage a copy list, build and validate with Blender's own builder. No network.

Usage, in the environment: `.venv/bin/python scripts/build_extension.py [--out-dir dist]`
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]

COPY_LIST = (
    # folder in the repository, which files, folder in the zip
    (".", "blender_manifest.toml", "."),
    (".", "LICENSE", "."),
    (".", "README.md", "."),
    ("blender_saga", "*.py", "."),
    ("blender_saga/wire", "*.py", "wire"),
    ("blender_saga/gaussians", "**/*.py", "gaussians"),
    ("blender_saga/client", "**/*.py", "client"),
    ("blender_saga/scene", "**/*.py", "scene"),
    ("blender_saga/viewport", "*.py", "viewport"),
    ("blender_saga/ui", "*.py", "ui"),
    ("backend", "launch.py", "backend"),
    ("backend/requirements", "backend.txt", "backend/requirements"),
    ("backend/requirements", "uv.txt", "backend/requirements"),
    ("backend/saga_backend", "**/*.py", "backend/saga_backend"),
)
"""What goes into the zip. The backend is plain source; it shares `wire` and `gaussians` with the add-on."""

LEFT_OUT = (
    "backend/saga_backend/evaluation/**/*",
    "backend/saga_backend/tools/**/*",
    "backend/saga_backend/masks/ray_engine.py",
    "backend/saga_backend/cli/evaluate*.py",
)
"""What of that stays in the repository: measuring, the scenes for it, masks on a Ray cluster. Users never run it; the
command line does not offer it where it is not there (backend/saga_backend/cli/checkout.py)."""


class BuildError(Exception):
    """The zip could not be built; the text says why and what to do."""


def find_builder() -> Path:
    """Path of Blender's extension builder, a plain script inside the bpy wheel of this Python.

    Raises:
        BuildError: if this Python has no bpy.
    """
    spec = importlib.util.find_spec("bpy")  # finds it without loading Blender
    folders = spec.submodule_search_locations if spec else None
    found = [
        p for folder in folders or () for p in Path(folder).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    ]
    if not found:
        raise BuildError(
            f"Blender's extension builder is missing: {sys.executable} has no bpy package. "
            "Make the environment with `python3 scripts/bootstrap.py` and use its Python (.venv)."
        )
    return found[0]


def contents() -> dict[Path, PurePosixPath]:
    """What the zip holds: each file of the repository, and its place in the zip.

    Raises:
        BuildError: if an entry of the two lists matches nothing.
    """
    found: dict[Path, PurePosixPath] = {}
    for source, pattern, target in COPY_LIST:
        files = _matching(ROOT / source, pattern)
        found |= {file: PurePosixPath(target, file.relative_to(ROOT / source).as_posix()) for file in files}
    for pattern in LEFT_OUT:
        for file in _matching(ROOT, pattern):
            found.pop(file, None)
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not files:
        raise BuildError(f"There is no {pattern} in {folder}, but the lists of the extension's files name it.")
    return files


def stage(folder: Path) -> int:
    """Copy what the zip holds into `folder`; returns the number of files.

    Raises:
        BuildError: see `contents`.
    """
    files = contents()
    for file, name in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return len(files)


def _run_builder(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-I", str(find_builder()), *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        said = (result.stdout + result.stderr).strip()
        raise BuildError(f"Blender's builder refused to {arguments[0]} the extension: {said}")


def build(out_dir: Path) -> Path:
    """Build and validate the zip; returns its path, `out_dir`/blender_saga-VERSION.zip.

    Raises:
        BuildError: if the builder is missing or refuses.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    # Built in a folder of its own first, so that a failure leaves an older zip in `out_dir` as it was.
    with tempfile.TemporaryDirectory(prefix="blender_saga_build_") as temporary:
        staged, built = Path(temporary, "stage"), Path(temporary, "out")
        staged.mkdir()
        built.mkdir()
        stage(staged)
        _run_builder("build", "--source-dir", str(staged), "--output-dir", str(built))
        (zip_path,) = built.glob("*.zip")
        _run_builder("validate", str(zip_path))
        return Path(shutil.move(zip_path, out_dir / zip_path.name))


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Build the Blender extension's zip.")
    parser.add_argument("--out-dir", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    out_dir = parser.parse_args().out_dir
    try:
        path = build(out_dir)
    except BuildError as error:
        print(error, file=sys.stderr)
        return 2
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    print(f"Built and validated {path}: {len(names)} files, {path.stat().st_size / 1024:.0f} kB.")
    print("Install it in Blender: Edit > Preferences > Get Extensions > Install from Disk, or drop it on the window.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
