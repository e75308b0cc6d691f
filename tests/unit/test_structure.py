"""The rules of the house, held by reading its files. Each list names who breaks the rule; it has to be empty."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

ADDON, BACKEND, REQUIREMENTS = ROOT / "blender_saga", ROOT / "backend", ROOT / "backend" / "requirements"
PURE = ("errors.py", "wire", "gaussians", "client")
SCRIPTS = ("bootstrap.py", "test.py", "demo.py")
INSTALLER = ("errors.py", "client/install/commands.py", "client/install/environment.py")
INSTALLER += (
    "client/install/install_progress.py",
    "client/install/pythons.py",
    "client/install/uv.py",
    "client/install/guard.py",
)
INSTALLER += ("client/install/versions.py", "client/install/owner.py", "gaussians/atomic_write.py")

FILE_LINES, FUNCTION_LINES, TRAINING_FUNCTION_LINES, ARGUMENTS = 400, 40, 60, 6


def sources(*folders: Path) -> list[Path]:
    """Every Python file in the folders; never an empty list, because then the test would see nothing."""
    found = sorted(path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*.py")))
    assert found, f"no Python files in {folders}"
    return found


def nobody(found: list[str] | dict[str, object]) -> None:
    """Fail with everyone who was found, one a line."""
    names = [f"{k}: {v}" for k, v in found.items()] if isinstance(found, dict) else list(found)
    assert not names, "\n" + "\n".join(names)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a file imports; a relative import begins with its dots."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from (f"{start}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


# --- who may import what -------------------------------------------------------------------------------------------

BLOCKED_IMPORT = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(name + " is blocked here")

BLOCKED = sys.argv[1].split(",")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[2])
for name in sys.argv[3:]:
    importlib.import_module(name)
print("imported", len(sys.argv) - 3)
"""


def import_blocked(blocked: str, modules: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", *options, "-c", BLOCKED_IMPORT, blocked, str(ROOT), *modules]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_pure_folders_import_without_blender_and_torch() -> None:
    modules = [module_name(path) for path in sources(*(ADDON / folder for folder in PURE))]
    result = import_blocked("bpy,torch,gsplat,saga_backend", modules)
    assert result.stdout.strip() == f"imported {len(modules)}", result.stderr
    assert "numpy is blocked" in import_blocked("numpy", modules).stderr  # the block does block


def test_the_installer_needs_nothing_but_the_standard_library() -> None:
    result = import_blocked("numpy,bpy,torch", ["blender_saga.client.install.environment"], "-S")
    assert result.stdout.strip() == "imported 1", result.stderr


@pytest.mark.parametrize("path", [ADDON / name for name in INSTALLER], ids=name_of)
def test_the_installer_is_valid_python_39(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert "from __future__ import annotations" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_commands_parse_on_an_old_python_so_that_it_can_say_so(name: str) -> None:
    source = (ROOT / "scripts" / name).read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "__future__" not in source  # 3.6 does not know annotations yet


def test_the_addon_never_names_torch_or_gsplat() -> None:
    heavy = {"torch", "torchvision", "gsplat", "numba", "saga_backend"}
    nobody([name_of(path) for path in sources(ADDON) if tops(path) & heavy])


def test_only_scene_viewport_and_ui_import_blender() -> None:
    allowed = {"scene", "viewport", "ui"}
    blender = {"bpy", "bpy_extras", "bmesh", "mathutils", "gpu", "gpu_extras", "blf"}
    found = [path for path in sources(ADDON) if tops(path) & blender]
    nobody([name_of(path) for path in found if path.relative_to(ADDON).parts[0] not in allowed])
    assert found


def test_the_addon_imports_itself_only_relatively() -> None:
    # Installed, the package is called bl_ext.REPOSITORY.blender_saga.
    nobody([name_of(path) for path in sources(ADDON) if "blender_saga" in tops(path)])


def test_pure_folders_need_only_the_standard_library_and_numpy() -> None:
    allowed = set(sys.stdlib_module_names) | {"", "numpy"}
    found = {name_of(p): tops(p) - allowed for p in sources(*(ADDON / folder for folder in PURE))}
    nobody({name: more for name, more in found.items() if more})


def test_the_backend_imports_only_wire_and_gaussians_of_the_addon() -> None:
    def strange(name: str) -> bool:
        parts = [*name.split("."), ""]
        return parts[0] == "bpy" or (parts[0] == "blender_saga" and parts[1] not in ("wire", "gaussians", "errors"))

    found = {name_of(path): sorted(filter(strange, imports(path))) for path in sources(BACKEND)}
    nobody({name: bad for name, bad in found.items() if bad})


# --- rooms: one below the other --------------------------------------------------------------------------------------

BACKEND_ROOMS = (
    "common", "rasterizer", "cameras", "masks", "segments", "methods", "model", "selection", "training", "text",
    "serving", "evaluation", "tools", "cli",
)  # fmt: skip
"""From the bottom up: a file imports from its own room and from those before it."""
ADDON_ROOMS = (
    "errors.py", "gaussians", "wire", "client/support", "client/connection", "client/install", "client",
    "scene/state", "scene/splat", "scene/files", "scene/requests", "scene/edit", "viewport", "ui",
)  # fmt: skip
SAGA = BACKEND / "saga_backend"


def room_of(path: Path, house: Path, rooms: tuple[str, ...]) -> int:
    """The number of the room in which a file stands; the longest name counts."""
    place = path.relative_to(house).as_posix()
    found = [room for room in rooms if place == room or place.startswith(f"{room}/")]
    assert found, f"{name_of(path)} stands in no room: see docs/developer/architecture.md"
    return rooms.index(max(found, key=len))


def files_imported(path: Path, house: Path) -> Iterator[tuple[Path, bool]]:
    """The files of the same house that a file imports, and whether a comment says why that has to be."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            explained = "#" in lines[node.lineno - 1]
            for target in (base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)):
                if target.is_file() and target.is_relative_to(house) and target.name != "__init__.py":
                    yield target, explained


HOUSES = [(SAGA, BACKEND_ROOMS), (ADDON, ADDON_ROOMS)]


def inside(house: Path) -> list[Path]:
    """The files that stand in rooms: all but the front doors."""
    doors = ("__init__.py", "__main__.py")
    return [path for path in sources(house) if path.name not in doors]


@pytest.mark.parametrize(("house", "rooms"), HOUSES, ids=("backend", "addon"))
def test_a_lower_room_never_imports_a_higher_one(house: Path, rooms: tuple[str, ...]) -> None:
    upward, arrows = [], set()
    for path in inside(house):
        here = room_of(path, house, rooms)
        for target, _ in files_imported(path, house):
            there = room_of(target, house, rooms)
            arrows.add((here, there))
            if there > here:
                upward.append(f"{name_of(path)} imports {name_of(target)}")
    nobody(upward)
    assert len(arrows) > len(rooms)  # it does read imports


@pytest.mark.parametrize(("house", "rooms"), HOUSES, ids=("backend", "addon"))
def test_no_two_files_import_each_other(house: Path, rooms: tuple[str, ...]) -> None:
    """Also for types only, unless a comment on the line says why."""
    arrows = {(path, target) for path in inside(house) for target, why in files_imported(path, house) if not why}
    nobody([f"{name_of(a)} and {name_of(b)}" for a, b in arrows if (b, a) in arrows and a < b])


def test_no_operator_borrows_from_operators() -> None:
    """What two of them need is in ui/operator_base.py, or belongs to scene."""
    ui = ADDON / "ui"
    borrowed = [(path, target) for path in sources(ui) for target, _ in files_imported(path, ADDON)]
    theirs = [(a, b) for a, b in borrowed if b.name.endswith("_ops.py") and a.name != "registration.py"]
    nobody([f"{name_of(a)} imports {name_of(b)}" for a, b in theirs if a.name.endswith("_ops.py")])
    assert ui / "operator_base.py" in {target for _, target in borrowed}


STATES = ("downloads", "link", "models", "searches", "status", "trainings")
"""What a run of Blender knows (scene/state): an instance in each file, written by its own methods."""


def test_a_state_is_written_by_its_owner_alone() -> None:
    assert all((ADDON / "scene" / "state" / f"{name}.py").is_file() for name in STATES)
    own = re.compile(rf"({'|'.join(STATES)})\.\w+")
    found = []
    for path in sources(ADDON):
        for node in ast.walk(tree(path)):
            changed: list[ast.expr] = []
            if isinstance(node, ast.Assign | ast.Delete):
                changed = node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                changed = [node.target]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                changes = node.func.attr in ("pop", "clear", "update", "setdefault", "append")
                changed = [node.func.value] if changes else []
            told = [ast.unparse(part) for target in changed for part in ast.walk(target)]
            found += [f"{name_of(path)}:{node.lineno} {text}" for text in told if own.fullmatch(text)]
    nobody(found)


def test_every_room_says_what_it_is_for() -> None:
    rooms = [house / room for house, names in HOUSES for room in names if room != "errors.py"]
    nobody([name_of(room) for room in rooms if not ast.get_docstring(tree(room / "__init__.py"))])


# --- what nobody may do --------------------------------------------------------------------------------------------


def test_nobody_waits_by_sleeping() -> None:
    code = sources(ADDON, BACKEND, ROOT / "scripts")
    found = [
        p for p in code for n in ast.walk(tree(p)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "time.sleep"
    ]
    nobody([name_of(path) for path in found])


# --- sizes ---------------------------------------------------------------------------------------------------------


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name_of(path)}:{node.lineno} {node.name}", node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end without the docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    given = function.args
    names = [argument.arg for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def everything() -> list[Path]:
    return sources(ADDON, BACKEND, ROOT / "scripts", ROOT / "tests")


def test_files_are_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in everything()}
    nobody({name: lines for name, lines in lengths.items() if lines > FILE_LINES})


def test_functions_are_short() -> None:
    def limit(where: str, name: str) -> int:
        trains = "/methods/" in where and re.match(r"forward|_?train|_?step", name)
        return TRAINING_FUNCTION_LINES if trains else FUNCTION_LINES

    found = [(where, code_lines(f), limit(where, f.name)) for path in everything() for where, f in functions(path)]
    nobody([f"{where}: {lines} lines" for where, lines, most in found if lines > most])


def test_functions_take_few_arguments() -> None:
    found = [(where, arguments(function)) for path in everything() for where, function in functions(path)]
    prescribed = ("draw_item",)  # Blender calls it with what it likes
    nobody([f"{w}: {count} arguments" for w, count in found if count > ARGUMENTS and not w.endswith(prescribed)])


# --- pins, paths, commands ------------------------------------------------------------------------------------------

PIN = re.compile(
    r"([a-z0-9][a-z0-9.-]*)==([0-9][0-9a-z.]*)( ; [\w .'()=!<>]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
)
DECIDED = {"torch": "2.11.0", "torchvision": "0.26.0", "gsplat": "1.5.3"}


def pins(name: str) -> dict[str, str]:
    """Package to version of a lock file, in which nothing else may stand; each has checksums."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    nobody(PIN.sub("", text).splitlines())
    return {match[1]: match[2] for match in PIN.finditer(text)}


def wanted(name: str) -> set[str]:
    lines = (REQUIREMENTS / name).read_text(encoding="utf-8").splitlines()
    return {line.partition("==")[0].replace("_", "-") for line in lines if line and not line.startswith(("-", "#"))}


def test_lock_files_hold_names_and_versions_of_all_that_is_wanted() -> None:
    backend, dev, cluster = pins("backend.txt"), pins("dev.txt"), pins("cluster.txt")
    assert wanted("backend.in") <= backend.keys() and wanted("dev.in") <= dev.keys()
    assert wanted("cluster.in") <= cluster.keys() and cluster.items() <= dev.items()
    assert pins("uv.txt").keys() == wanted("uv.in") == {"uv"}
    assert DECIDED.items() <= backend.items() and dev["bpy"] == "5.2.3"
    assert backend.items() <= dev.items(), "developers test other versions than users get"
    assert not {"bpy", "pytest"} & backend.keys()


def text_files() -> list[Path]:
    folders = (ADDON, BACKEND, ROOT / "scripts", ROOT / "tests", ROOT / "docs", ROOT / ".ci", ROOT / ".github")
    endings = {".py", ".txt", ".in", ".md", ".toml", ".json", ".yml", ""}
    return [p for f in folders for p in f.rglob("*") if p.is_file() and p.suffix in endings] + [
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml", "blender_manifest.toml")
    ]


def test_no_paths_of_one_machine_and_no_package_index_by_name() -> None:
    # Put together here, so that this file does not find itself.
    machine = re.compile(r"(?<![\w.])/(?:" + "|".join(("work", "root", "farm", r"home/\w+")) + ")/")
    index = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", r"download\.py" + "torch")))
    texts = [(path, path.read_text(encoding="utf-8", errors="ignore")) for path in text_files()]
    nobody([name_of(path) for path, text in texts if machine.search(text) or index.search(text)])
    nobody([p.name for p, text in texts if p.parent == REQUIREMENTS and "://" in text])


def test_the_readme_commands_exist_and_ci_runs_the_test_command() -> None:
    readme, ci = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    for script in ("demo.py", "test.py"):
        assert f"python3 scripts/{script}\n" in readme and (ROOT / "scripts" / script).is_file()
    assert "exec python3 scripts/test.py --gui --faults\n" in ci


def test_the_license_is_the_same_everywhere() -> None:
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert manifest["license"] == [f"SPDX:{project['license']}"]
