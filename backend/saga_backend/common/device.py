"""The device that torch can compute on, with a plain explanation for the user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from types import ModuleType

from blender_saga.errors import ErrorCode, UserError

_SMI_SECONDS = 10.0  # a driver that hangs must not block the start


@dataclass(frozen=True)
class Device:
    """The device for all computation.

    Attributes:
        name: torch's name, "cpu" or "cuda".
        note: a description for the user.
        obstacle: why an installed GPU is not used, and the fix; "" without a GPU or if it is used.
    """

    name: str
    note: str
    obstacle: str = ""


@dataclass(frozen=True)
class _Card:
    """A GPU as nvidia-smi reports it, independent of torch."""

    name: str
    driver: str


@dataclass(frozen=True)
class _Obstacle:
    """Why CUDA cannot be used, and the fix; "" where there is no GPU and so nothing to fix."""

    why: str
    fix: str = ""


def find_device(choice: str) -> Device:
    """The device to use.

    Args:
        choice: "auto" (CUDA if it works, otherwise the CPU), "cpu" or "cuda".

    Raises:
        UserError: if torch is not installed, or CUDA is chosen and does not work.
    """
    if choice not in ("auto", "cpu", "cuda"):
        raise UserError(f"The device {choice!r} is unknown", fix="Choose auto, cpu or cuda", code=ErrorCode.DEVICE)
    torch = _import_torch()
    if choice == "cpu":
        return Device("cpu", f"{_cpu()}, as chosen")
    obstacle = _obstacle(torch)
    if obstacle is None:
        return Device("cuda", _gpu(torch))
    if choice == "auto":
        warning = f"The GPU is not used: {obstacle.why}. {obstacle.fix}" if obstacle.fix else ""
        return Device("cpu", f"{_cpu()}; no GPU, because {obstacle.why}", warning)
    fix = "Choose the device Automatic or CPU in the preferences of Blender SAGA"
    fix = f"{obstacle.fix}, or c{fix[1:]}" if obstacle.fix else fix
    raise UserError("CUDA cannot be used", obstacle.why, fix, ErrorCode.DEVICE)


def _obstacle(torch: ModuleType) -> _Obstacle | None:
    """Why CUDA cannot be used; None if a test computation succeeds. This torch may not be built for the GPU."""
    card = _card()
    if torch.version.cuda is None:
        name = f", so it cannot use the {card.name}" if card else ""
        fix = "Remove the environment in the backend folder and press Install" if card else ""
        return _Obstacle(f"the installed torch was built without CUDA{name}", fix)
    problem = _problem(torch)
    if problem == "":
        return None
    if card is None and problem is None:
        return _Obstacle("no NVIDIA GPU with a working driver was found")
    name, driver = (card.name, f"driver {card.driver}") if card else ("NVIDIA GPU", "driver")
    return (
        _too_old_driver(torch, name, driver, problem or "")
        or _wrong_card(torch, name)
        or _refusal(name, driver, problem)
    )


def _problem(torch: ModuleType) -> str | None:
    """The error of a test computation on the GPU: "" if it succeeds, None if torch sees no GPU."""
    with warnings.catch_warnings(record=True) as caught:  # torch warns if the driver is too old
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        return str(caught[0].message) if caught else None
    try:
        torch.ones(2, device="cuda").sum().item()
    except RuntimeError as error:
        return str(error) or type(error).__name__
    return ""


def _too_old_driver(torch: ModuleType, name: str, driver: str, problem: str) -> _Obstacle | None:
    if not re.search(r"driver.{0,60}(?:too old|insufficient)", problem, re.IGNORECASE):
        return None
    match = re.search(r"found version (\d+)", problem)  # CUDA's version as 1000 * major + 10 * minor
    limit = f" supports CUDA up to {int(match[1]) // 1000}.{int(match[1]) % 1000 // 10}" if match else " is too old"
    why = f"the {driver} of the {name}{limit}, and the installed torch needs {torch.version.cuda}"
    return _Obstacle(why, "Update the NVIDIA driver and restart the backend")


def _wrong_card(torch: ModuleType, name: str) -> _Obstacle | None:
    """The obstacle of a GPU whose compute capability this torch was not built for; None if it was."""
    try:
        major, minor = torch.cuda.get_device_capability(0)
        built = torch.cuda.get_arch_list()
    except (RuntimeError, AssertionError):
        return None
    versions = {(int(n[:-1]), int(n[-1]), kind) for kind, n in re.findall(r"(sm|compute)_(\d{2,})", " ".join(built))}
    fits = {v for v in versions if (v[0] == major and v[1] <= minor) or (v[2] == "compute" and v[:2] <= (major, minor))}
    if not versions or fits:
        return None
    listed = ", ".join(f"{a}.{b}" for a, b in sorted({v[:2] for v in versions}))
    why = f"the {name} has compute capability {major}.{minor}, and the installed torch is built for {listed}"
    return _Obstacle(why, "To use it, set Own Python in the preferences to a Python whose torch is built for it")


def _refusal(name: str, driver: str, problem: str | None) -> _Obstacle:
    if problem is None:
        why = f"torch does not find the {name} with {driver}"
        return _Obstacle(why, "Restart the machine; if that does not help, reinstall the NVIDIA driver")
    first = problem.splitlines()[0].removeprefix("CUDA error: ")
    why = f"a test computation on the {name} failed ({first})"
    return _Obstacle(why, "Close other programs that use the GPU, restart the backend, or update the NVIDIA driver")


def _card() -> _Card | None:
    """The first NVIDIA GPU that nvidia-smi lists; None without nvidia-smi or a GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    name, comma, driver = done.stdout.partition("\n")[0].rpartition(",")
    return _Card(name.strip(), driver.strip()) if done.returncode == 0 and comma else None


def _gpu(torch: ModuleType) -> str:
    properties = torch.cuda.get_device_properties(0)
    return f"{properties.name} with {properties.total_memory / 2**30:.0f} GB, CUDA {torch.version.cuda}"


def _cpu() -> str:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"CPU with {count} core{'s' if count != 1 else ''}"


def _import_torch() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        fix = "Press Install in the preferences of Blender SAGA"
        raise UserError(
            "The backend's environment is incomplete", f"{error}", fix, code=ErrorCode.NOT_INSTALLED
        ) from error
    return torch
