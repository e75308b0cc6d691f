"""Installing and upgrading the backend with real pip and uv from an index on this machine, and what goes wrong in it.

The promise: whatever happens, the environment that worked before works on, byte for byte, and the next try succeeds.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blender_saga.client.install.environment import EnvironmentState
from tests.faults.conftest import FULL
from tests.faults.install_shop import SOON, Shop
from tests.faults.real import until
from tests.faults.stub_index import REAL_UV, ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for uv is a #! script"),
    pytest.mark.skipif(not REAL_UV.is_file(), reason="there is no uv of this checkout (scripts/bootstrap.py makes it)"),
]
PHASES = ("Fetching uv", "Creating the environment", "Resolving", "Downloading", "Installing", "Testing", "Compiling")
FIRST = [(how, phase) for how in ("cancel", "kill") for phase in PHASES]
AGAIN = [(how, phase) for how, phase in FIRST if phase != PHASES[0]]
if not FULL:
    FIRST, AGAIN = (
        [("cancel", PHASES[0]), ("kill", "Downloading")],
        [(how, p) for how, p in AGAIN if p[:3] in ("Dow", "Pre")],
    )


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installation leaves beside the environment: uv, which pip takes seconds to bring."""
    shop = Shop(tmp_path_factory.mktemp("tools"))
    assert shop.install() == (0, "1.000 Installed")
    shop.close()
    return shop.folder / "environment-uv"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shop]:
    """Nothing is there."""
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def shop(bare: Shop, tools: Path) -> Shop:
    """Nothing but uv is there."""
    shutil.copytree(tools, bare.folder / tools.name, symlinks=True)
    return bare


@pytest.fixture
def old(shop: Shop) -> Shop:
    """Version 1.0 is installed, 2.0 is wanted."""
    assert shop.install() == (0, "1.000 Installed")
    shop.works("1.0")
    shop.publish("2.0")
    assert shop.installed.state is EnvironmentState.outdated and shop.installed.usable
    return shop


def nobody_works_in(folder: Path) -> None:
    """Wait until no process has the folder in its command line."""
    until(lambda: not _working_in(folder), f"the end of all that works in {folder}")


def _working_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [line] if str(folder) in line and int(process.name) != os.getpid() else []
    return found


def untouched(shop: Shop, before: dict[str, str]) -> None:
    """The old environment is as it was and works; then the upgrade succeeds and the old one is gone."""
    assert shop.installed.usable and shop.content() == before
    shop.works("1.0")


def upgraded(shop: Shop) -> None:
    shop.index.release()
    shop.fault("")
    assert shop.install() == (0, "1.000 Installed")
    shop.works("2.0")
    assert shop.installed.state is EnvironmentState.ready and len(shop.environments()) == 1


def test_a_first_installation_and_an_upgrade(bare: Shop, case: Callable) -> None:
    shop = bare
    with case("install, then upgrade to another lock") as row:
        assert shop.installed.state is EnvironmentState.missing
        began = time.monotonic()
        assert shop.install() == (0, "1.000 Installed")
        row.right(time.monotonic() - began)
        shop.works("1.0")
        assert shop.install()[0] == 0  # again: nothing to do but the trial
        assert shop.environments() == ["environment-1"]
        shop.publish("2.0")
        upgraded(shop)
        assert shop.environments() == ["environment-2"]
        row.lost = "nothing"


@pytest.mark.parametrize(("how", "phase"), FIRST)
def test_a_first_installation_that_is_stopped(
    request: pytest.FixtureRequest, case: Callable, how: str, phase: str
) -> None:
    shop: Shop = request.getfixturevalue("bare" if phase == PHASES[0] else "shop")
    with case(f"first installation, {how} at: {phase}") as row:
        code, _ = shop.install(how, phase)
        began = time.monotonic()
        assert code == (3 if how == "cancel" else -9)
        nobody_works_in(shop.folder)
        row.right(time.monotonic() - began)
        assert not shop.installed.usable
        assert shop.install() == (0, "1.000 Installed")
        shop.works("1.0")
        assert len(shop.environments()) == 1
        row.lost = "nothing"


@pytest.mark.parametrize(("how", "phase"), AGAIN)
def test_an_upgrade_that_is_stopped(old: Shop, case: Callable, how: str, phase: str) -> None:
    with case(f"upgrade, {how} at: {phase}") as row:
        before = old.content()
        code, _ = old.install(how, phase)
        began = time.monotonic()
        assert code == (3 if how == "cancel" else -9)
        nobody_works_in(old.folder)
        untouched(old, before)
        row.right(time.monotonic() - began)
        upgraded(old)
        row.lost = "nothing"


def test_killed_in_the_middle_of_a_download(old: Shop, case: Callable) -> None:
    with case("upgrade, kill -9 in the middle of torch's download") as row:
        before, process = old.content(), None
        old.index.held.add("torch")
        process = old.begin()
        assert old.index.asked.wait(SOON)
        process.kill()
        process.wait()
        began = time.monotonic()
        nobody_works_in(old.folder)  # uv is ended, too: it would go on for gigabytes
        untouched(old, before)
        row.right(time.monotonic() - began)
        upgraded(old)
        row.lost = "nothing"


FAULTS = {
    "a wheel that arrives damaged": (lambda shop: shop.index.corrupt.add("torch"), "network"),
    "a connection that breaks in torch": (lambda shop: shop.index.cut.add("torch"), "network"),
    "a package that is missing": (lambda shop: shop.index.remove("numba"), "index"),
    "no network": (lambda shop: shop.index.close(), "network"),
    "a trial that fails": (lambda shop: shop.fault("ImportError: libtorch is broken"), "install"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_upgrade_that_fails(old: Shop, case: Callable, name: str) -> None:
    do, expected = FAULTS[name]
    with case(f"upgrade, {name}") as row:
        before = old.content()
        do(old)
        began = time.monotonic()
        code, line = old.install()
        assert code == 2 and line.startswith(f"error {expected} "), line
        untouched(old, before)
        row.right(time.monotonic() - began)
        assert len(old.environments()) == 1
        if name != "no network":  # that index is closed for good
            old.index.corrupt.clear()
            old.index.cut.clear()
            old.publish("2.0")
            upgraded(old)
        row.lost, row.remark = "nothing", line.partition(" ")[2]


@pytest.mark.skipif(not FULL, reason="waits for half a minute: only with the full counts")
def test_an_index_that_never_answers(old: Shop, case: Callable) -> None:
    """A firewall that swallows what is sent: connections seem to be made, and nothing comes."""
    with case("upgrade, an index that takes connections and never answers") as row, socket.socket() as silent:
        before = old.content()
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        old.environ["UV_DEFAULT_INDEX"] = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        old.environ["UV_CACHE_DIR"] = str(old.folder / "another-cache")  # what was asked before is not remembered
        began = time.monotonic()
        code, line = old.install()
        row.right(time.monotonic() - began)
        assert code == 2 and line.startswith("error network"), line
        untouched(old, before)
        row.lost, row.remark = "nothing", line.partition(" ")[2]


def test_a_wheel_that_is_not_the_locked_one_never_runs(shop: Shop, case: Callable) -> None:
    """Not a damaged but another wheel of the same name and version: what a tampered index would serve."""
    with case("install, an exchanged wheel of the same name and version") as row:
        shop.index.add("numba", "1.0", {"numba.py": b"raise SystemExit('owned')\n", "numba.pth": b"import numba\n"})
        code, line = shop.install()
        assert code == 2 and line.startswith("error checksum"), line
        assert not list(shop.folder.rglob("numba.py")) and shop.environments() == []
        row.lost, row.remark = "nothing", line.partition(" ")[2]


def test_too_little_space_is_told_before_anything_is_fetched(old: Shop, case: Callable) -> None:
    with case("upgrade, too little disk space") as row:
        before = old.content()
        old.index.close()  # it would notice if it asked
        began = time.monotonic()
        code, line = old.install("free", str(10**18))
        row.right(time.monotonic() - began)
        assert code == 2 and line.startswith("error disk")
        untouched(old, before)
        row.lost = "nothing"


def test_a_disk_that_is_full_in_the_middle(shop: Shop, case: Callable, tmp_path: Path) -> None:
    with case("upgrade, the disk is full in the middle (tmpfs)") as row:
        mount = tmp_path / "small"
        mount.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(mount)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
            pytest.skip("a small disk can only be made by root")
        try:
            shop.folder = mount / "backend"
            assert shop.install() == (0, "1.000 Installed")
            filler = mount / "filler"
            filler.write_bytes(bytes(shutil.disk_usage(mount).free - 3 * 2**20))
            shop.publish("2.0")
            before = shop.content()
            began = time.monotonic()
            code, line = shop.install()
            assert code == 2 and line.startswith("error disk"), line
            untouched(shop, before)
            row.right(time.monotonic() - began)
            filler.unlink()
            upgraded(shop)
        finally:
            shop.close()
            subprocess.run(["umount", "-l", str(mount)], check=True)
        row.lost, row.remark = "nothing", line.partition(" ")[2]


def test_two_blenders_install_at_once(old: Shop, case: Callable) -> None:
    with case("two Blenders upgrade at once") as row:
        old.index.held.add("torch")
        first = old.begin()
        assert old.index.asked.wait(SOON)
        began = time.monotonic()
        code, line = old.install()
        row.right(time.monotonic() - began)
        assert code == 2 and line.startswith("error busy")
        old.works("1.0")
        old.index.release()
        assert first.communicate(timeout=SOON)[0].endswith("1.000 Installed\n")
        old.works("2.0")
        row.lost = "nothing"


OCCUPY = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("launch", sys.argv[1])
launch = importlib.util.module_from_spec(spec)
spec.loader.exec_module(launch)
launch._occupy(Path(sys.prefix))
print("up", flush=True)
sys.stdin.read()
import torch, numba
print(torch.__version__)
"""


def test_a_backend_that_runs_keeps_its_environment(old: Shop, case: Callable) -> None:
    """Another Blender trains while this one upgrades: its packages stay until it has ended."""
    with case("upgrade beside another Blender's running backend") as row:
        command = [old.installed.current.python, "-c", OCCUPY, ROOT / "backend" / "launch.py"]
        backend = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert backend.stdout is not None and backend.stdout.readline() == "up\n"
        assert old.install() == (0, "1.000 Installed")
        old.works("2.0")
        assert len(old.environments()) == 2
        assert backend.communicate("", timeout=SOON)[0] == "1.0\n"  # it imports only now
        old.publish("3.0")
        assert old.install() == (0, "1.000 Installed")
        assert old.environments() == [old.installed.current.folder.name]
        row.lost = "nothing"


def test_an_environment_of_before_there_were_upgrades_is_taken_over(old: Shop) -> None:
    """Made by an earlier version of the extension: a plain folder, no name of the one in use."""
    old.installed.current.folder.rename(old.folder / "environment")
    (old.folder / "environment.current").unlink()
    assert old.installed.usable
    old.works("1.0")
    upgraded(old)
    assert not (old.folder / "environment").exists()


def test_one_that_was_damaged_is_repaired(shop: Shop, case: Callable) -> None:
    """A virus scanner has taken a file: Install, pressed again, finds it out and makes a new one."""
    with case("install again over an environment that was damaged") as row:
        assert shop.install() == (0, "1.000 Installed")
        next(shop.installed.current.folder.rglob("torch/__init__.py")).unlink()
        assert shop.installed.state is EnvironmentState.ready  # nobody looks into every file
        began = time.monotonic()
        assert shop.install() == (0, "1.000 Installed")
        shop.works("1.0")
        row.right(time.monotonic() - began)
        assert len(shop.environments()) == 1
        row.lost = "nothing"


def test_packages_of_the_old_one_leave_the_cache(old: Shop) -> None:
    upgraded(old)
    kept = [path.read_bytes() for path in (old.folder / "environment-cache").rglob("torch/__init__.py")]
    assert kept == [b"__version__ = '2.0'\n"]
    old.publish("1.0")  # and what is gone from there can come again
    assert old.install() == (0, "1.000 Installed")
    old.works("1.0")
