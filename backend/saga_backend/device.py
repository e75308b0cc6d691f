"""What torch can really compute on here, in plain words."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import ModuleType

from blender_saga.wire.errors import UserError


@dataclass(frozen=True)
class Device:
    """Where tensors live ("cpu" or "cuda"), and a sentence for the user about it."""

    name: str
    note: str


def find_device(wanted: str) -> Device:
    """The device to use.

    Args:
        wanted: "auto" (CUDA where it works, else the CPU), "cpu" or "cuda".

    Raises:
        UserError: if torch is not installed, or CUDA is wanted and does not work here.
    """
    if wanted not in ("auto", "cpu", "cuda"):
        raise UserError(f"There is no device {wanted!r}", fix="Choose auto, cpu or cuda", code="device")
    torch = _import_torch()
    if wanted == "cpu":
        return Device("cpu", f"{_cpu()}, as chosen")
    obstacle = _cuda_obstacle(torch)
    if not obstacle:
        return Device("cuda", _gpu(torch))
    if wanted == "auto":
        return Device("cpu", f"{_cpu()}; no GPU, because {obstacle}")
    raise UserError("CUDA cannot be used", obstacle, "Choose the device auto or cpu in the preferences", code="device")


def _cuda_obstacle(torch: ModuleType) -> str:
    """Why CUDA cannot be used, "" if it can; tried out, as this torch may not be built for the card."""
    if torch.version.cuda is None:
        return "the installed torch was built without CUDA"
    if not torch.cuda.is_available():
        return "no NVIDIA GPU with a working driver was found"
    try:
        torch.ones(2, device="cuda").sum().item()
    except RuntimeError as error:
        return f"the GPU refused a test sum ({str(error).splitlines()[0]})"
    return ""


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
        fix = "Press Install in the preferences"
        raise UserError("The backend's environment is not complete", f"{error}", fix, code="not_installed") from error
    return torch
