"""A real Blender window on a machine without a screen: Debian's Blender 5.2 in a folder of its own.

`python3 scripts/blender_window.py` makes it (once, about 2 minutes and 1.8 GB in the user's cache folder) and prints
its version. It needs Linux, root, Debian's package tools and a network; where one is missing, `Unavailable` says which.
The window is drawn by software on a virtual screen. Nothing of the machine's own system is changed, and mounts live in
a namespace of the started process: they end with it.
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
"""The folder with a small Debian and its Blender. It may be deleted at any time; the next run makes it again."""

_SUITE = "sid"  # the suite that has Blender 5.2
_PACKAGES = (
    *("blender", "python3-numpy", "python3-cattr", "python3-requests"),  # Debian leaves out what its extensions need
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
# Arguments: the folder, how many paths follow that are seen inside under the same name, these, the command.
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
    """There is no Blender window on this machine; the text says why in one sentence."""


def prepare(say: Callable[[str], None] = print) -> None:
    """Make the folder with Blender unless it is there and of this version.

    Raises:
        Unavailable: if that is not possible here.
    """
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Unavailable("a Blender of its own can only be installed on Linux by root")
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / "window.lock"):
        if _STAMP.exists() and _STAMP.read_text() == _version():
            return
        say("Installing Debian's Blender in a folder of its own (once, about 2 minutes)")
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
    _call(_entering([], ["sh", "-c", _INSTALL, "sh", *_PACKAGES]), "Debian's Blender cannot be installed")
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
    """Two runs at once: the second waits for the first."""
    import fcntl  # only where there is a window to be had: not on Windows

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _entering(shared: Sequence[Path], command: Sequence[str]) -> list[str]:
    """The command line that runs a command inside, in a mount namespace of its own."""
    paths = [str(path.absolute()) for path in shared]  # a link's own name, not what it points to
    inside = ["sh", "-c", _ENTER, "sh", str(SYSTEM), str(len(paths)), *paths, *command]
    return ["unshare", "--mount", "--propagation", "private", *inside]


@dataclass(frozen=True)
class Screen:
    """A virtual screen that is there.

    Attributes:
        display: as programs inside name it, ":N".
        shared: folders that programs inside see under the same path.
    """

    display: str
    shared: tuple[Path, ...]

    def start(self, command: Sequence[str], environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program inside, its output in `log`; its process id is that of the program itself."""
        environ = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "DISPLAY": self.display, "LANG": "C.UTF-8", **environ}
        with log.open("wb") as output:
            return subprocess.Popen(
                _entering(self.shared, command),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )


@contextlib.contextmanager
def screen(shared: Sequence[Path], size: tuple[int, int] = (1600, 900)) -> Iterator[Screen]:
    """A virtual screen of a number of its own, for the time of the block.

    Args:
        shared: folders of this machine that programs inside are to see.
        size: width and height in pixels.

    Raises:
        Unavailable: if the screen cannot be started.
    """
    read_end, write_end = os.pipe()
    options = ["-displayfd", str(write_end), "-screen", "0", f"{size[0]}x{size[1]}x24", "+extension", "GLX"]
    server = subprocess.Popen(
        _entering([], ["Xvfb", *options, "-nolisten", "tcp"]),
        pass_fds=[write_end],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        with os.fdopen(read_end) as pipe:
            number = pipe.readline().strip()  # written when the screen can be used; empty when the server has ended
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
    done = subprocess.run(_entering([], ["blender", "--version"]), capture_output=True, text=True, check=False)
    print(done.stdout.splitlines()[0] if done.stdout else done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
