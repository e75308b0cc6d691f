"""A real Blender window on a machine without a screen: Debian's Blender 5.2 in its own folder.

`python3 scripts/blender_window.py` installs it (once, about 2 minutes and 1.8 GB in the user's cache folder) and prints
its version. It needs Linux, root, Debian's package tools and a network; if one is missing, `Unavailable` says which.
Software draws the window on a virtual screen. The system of the machine does not change: the mounts are in a namespace
of the started process and end with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blender_saga"
SYSTEM = CACHE / "window"
"""The folder with a small Debian and its Blender. You can delete it at any time; the next run installs it again."""

_SUITE = "sid"  # the suite that has Blender 5.2
_PACKAGES = (
    # Blender's extensions need the Python packages, but Debian's Blender does not depend on them.
    *("blender", "python3-numpy", "python3-cattr", "python3-requests"),
    *("xvfb", "imagemagick", "libgl1-mesa-dri", "libegl1", "libgl1", "libglx-mesa0"),
)
_STAMP = SYSTEM / "blender_saga_ready"
_INSTALL = """
set -e
echo 'Acquire::Check-Valid-Until "false";' > /etc/apt/apt.conf.d/99valid
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
apt-get clean
"""
# Arguments: the folder, the number of shared paths, the shared paths (with the same name inside), the command.
_ENTER = """
set -e
root=$1; count=$2; shift 2
mount --bind /proc "$root/proc"
mount --bind /dev "$root/dev"
while [ "$count" -gt 0 ]; do
    mkdir -p "$root$1"; mount --bind "$1" "$root$1"; shift; count=$((count - 1))
done
exec chroot "$root" "$@"
"""


class Unavailable(Exception):
    """This machine has no Blender window; the text gives the reason in one sentence."""


def prepare(say: Callable[[str], None] = print) -> None:
    """Install Blender in the folder, unless this version is installed already.

    Raises:
        Unavailable: if that is not possible on this machine.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Unavailable("Blender can only be installed on Linux, and only by root")
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "window.lock"):
        if _STAMP.exists() and _STAMP.read_text() == _version():
            return
        say("Installing Debian's Blender in its own folder (once, about 2 minutes)")
        _install()


def _version() -> str:
    return hashlib.sha256(repr((_SUITE, _PACKAGES, _INSTALL)).encode()).hexdigest()


def _install() -> None:
    shutil.rmtree(SYSTEM, ignore_errors=True)
    if shutil.which("debootstrap") is None:
        _call(["apt-get", "update", "-qq"], "the package lists cannot be fetched")
        _call(["apt-get", "install", "-y", "-qq", "debootstrap"], "debootstrap cannot be installed")
    _call(["debootstrap", "--variant=minbase", _SUITE, str(SYSTEM)], "Debian's base system cannot be fetched")
    for name in ("resolv.conf", "hosts"):
        with contextlib.suppress(OSError):
            shutil.copyfile(Path("/etc", name), SYSTEM / "etc" / name)
    _call(_enter_command([], ["sh", "-c", _INSTALL, "sh", *_PACKAGES]), "Debian's Blender cannot be installed")
    _STAMP.write_text(_version())


def _call(command: Sequence[str], problem: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable(f"{problem} ({error})") from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Unavailable(f"{problem} ({lines[-1] if lines else f'exit code {done.returncode}'})")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock: of two runs at the same time, the second waits for the first."""
    import fcntl  # Windows has no such module

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _enter_command(shared: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command line that runs a command inside, in a new mount namespace."""
    paths = [str(path.absolute()) for path in shared]  # the name of a link, not its target
    inside = ["sh", "-c", _ENTER, "sh", str(SYSTEM), str(len(paths)), *paths, *command]
    return ["unshare", "--mount", "--propagation", "private", *inside]


@dataclass(frozen=True)
class Screen:
    """A running virtual screen.

    Attributes:
        display: its name for programs inside, ":N".
        shared: folders that programs inside see under the same path.
    """

    display: str
    shared: tuple[Path, ...]

    def start(self, command: Sequence[str], environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program inside, with its output in `log`. The process id is that of the program itself."""
        environ = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "DISPLAY": self.display, "LANG": "C.UTF-8", **environ}
        with log.open("wb") as output:
            return subprocess.Popen(
                _enter_command(self.shared, command),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


@contextlib.contextmanager
def screen(shared: Sequence[Path], size: tuple[int, int] = (1600, 900)) -> Iterator[Screen]:
    """Run a virtual screen with a free number during the block.

    Args:
        shared: folders of this machine for the programs inside.
        size: width and height in pixels.

    Raises:
        Unavailable: if the screen cannot be started.
    """
    read_end, write_end = os.pipe()
    options = ["-displayfd", str(write_end), "-screen", "0", f"{size[0]}x{size[1]}x24", "+extension", "GLX"]
    server = subprocess.Popen(
        _enter_command([], ["Xvfb", *options, "-nolisten", "tcp"]),
        pass_fds=[write_end],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()  # comes when the screen is ready; empty if the server has ended
        if not number:
            raise Unavailable("the virtual screen cannot be started")
        yield Screen(f":{number}", tuple(shared))
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Command line; returns the exit code."""
    try:
        prepare()
    except Unavailable as error:
        print(f"No Blender window here: {error}.", file=sys.stderr)
        return 2
    done = subprocess.run(_enter_command([], ["blender", "--version"]), capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[0] if done.stdout else done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
