"""Which rasterizer works here: gsplat's CUDA kernels where they can be built, else the CPU's. Both mean the same."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.view import View

from . import cpu
from .contributions import Contributions

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rasterizer:
    """The two functions of raster.py, and where they compute: "cpu" or "cuda"."""

    device: str
    render: Callable[[GaussianCloud, View], cpu.Picture]
    contributions: Callable[[GaussianCloud, View, np.ndarray], Contributions]


CPU = Rasterizer("cpu", cpu.render, cpu.contributions)


def rasterizer(device: str) -> Rasterizer:
    """The rasterizer for a device ("cpu" or "cuda"); where gsplat cannot work, the CPU's, and the log says why, once.

    The first one for CUDA on a machine builds gsplat's kernels, which takes some minutes.
    """
    return CPU if device == "cpu" else _cuda_or_cpu()


@functools.cache
def _cuda_or_cpu() -> Rasterizer:
    obstacle = gsplat_obstacle()
    if obstacle:
        _log.warning("The CPU rasterizes, because %s. Training still runs on the GPU.", obstacle)
        return CPU
    from .cuda import CudaRasterizer

    found = CudaRasterizer()
    return Rasterizer("cuda", found.render, found.contributions)


def gsplat_obstacle() -> str:
    """Why gsplat's kernels cannot be used, "" if they can; builds them if that was never done."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    _log.info("Loading gsplat's kernels; the first time they are built, which takes some minutes")
    _prepare_build(torch.cuda.get_device_capability())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            from gsplat.cuda._backend import _C
    except (ImportError, RuntimeError, OSError) as error:  # no compiler, no headers, no ninja
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return f"gsplat's kernels could not be built ({lines[0]})"
    return "" if _C is not None else "gsplat's kernels need the CUDA toolkit (nvcc) to be built, and it is not here"


def _prepare_build(capability: tuple[int, int]) -> None:
    """What torch's builder looks up: the toolkit's own folder, the card at hand only, ninja."""
    home = cuda_home()
    if home:
        os.environ.setdefault("CUDA_HOME", home)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "{}.{}".format(*capability))
    if shutil.which("ninja") is None:  # it is installed beside the interpreter, which need not be on the path
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def cuda_home() -> str:
    """The toolkit's folder as nvcc itself names it, "" without nvcc: the one on the path may only be a wrapper."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return ""
    command = [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    top = re.search(r"^#\$ TOP=(.+)$", told.stderr + told.stdout, re.MULTILINE)
    return str(Path(top[1].strip()).resolve()) if top else ""
