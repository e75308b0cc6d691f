"""Build the zip of the extension: copy its files, then build and validate with Blender's own builder. No network.

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
    # folder in the repository, pattern of the files, folder in the zip
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
"""The files of the zip. The backend is plain source; it shares `wire` and `gaussians` with the add-on."""

LEFT_OUT = (
    "backend/saga_backend/evaluation/**/*",
    "backend/saga_backend/tools/**/*",
    "backend/saga_backend/masks/ray_engine.py",
    "backend/saga_backend/cli/evaluate*.py",
)
"""Files of the copy list that are not in the zip: evaluation, its scenes, masks on a Ray cluster. Users never run them;
without them, the command line has no such commands (backend/saga_backend/cli/checkout.py)."""


class BuildError(Exception):
    """The zip cannot be built; the text gives the reason and the fix."""


def find_builder() -> Path:
    """The path of Blender's extension builder, a plain script in the bpy wheel of this Python.

    Raises:
        BuildError: if this Python has no bpy.
    """
    spec = importlib.util.find_spec("bpy")  # this does not load Blender
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
    """The files of the zip: each file in the repository, and its path in the zip.

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
        raise BuildError(f"The lists of the extension's files name {pattern}, but {folder} has no such file.")
    return files


def stage(folder: Path) -> int:
    """Copy the files of the zip into `folder`; returns their number.

    Raises:
        BuildError: see `contents`.
    """
    files = contents()
    for file, name in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return len(files)


def _run_builder(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-I", str(find_builder()), *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise BuildError(f"Blender's builder refused to {arguments[0]} the extension: {output}")


def build(out_dir: Path) -> Path:
    """Build and validate the zip; returns its path, `out_dir`/blender_saga-VERSION.zip.

    Raises:
        BuildError: if the builder is missing or refuses.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    # The build uses a temporary folder, so that a failure does not change an older zip in `out_dir`.
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
