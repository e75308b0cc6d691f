"""Selection of the rasterizer: gsplat's CUDA kernels if they can be built, otherwise the CPU. Results are equal."""

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
    """The two functions of cpu.py for a device: "cpu" or "cuda"."""

    device: str
    render: Callable[[GaussianCloud, View], cpu.Picture]
    contributions: Callable[[GaussianCloud, View, np.ndarray], Contributions]


CPU = Rasterizer("cpu", cpu.render, cpu.contributions)


def rasterizer(device: str) -> Rasterizer:
    """The rasterizer for a device ("cpu" or "cuda"). If gsplat fails, it is the CPU's, and the log says why once.

    The first call for CUDA on a machine builds gsplat's kernels, which takes some minutes.
    """
    return CPU if device == "cpu" else _cuda_or_cpu()


@functools.cache
def _cuda_or_cpu() -> Rasterizer:
    obstacle = gsplat_obstacle()
    if obstacle:
        _log.warning("Rasterizing on the CPU, because %s. Training still runs on the GPU.", obstacle)
        return CPU
    from .cuda import CudaRasterizer

    cuda = CudaRasterizer()
    return Rasterizer("cuda", cuda.render, cuda.contributions)


def gsplat_obstacle() -> str:
    """Why gsplat's kernels cannot be used, "" if they can. The first call builds them."""
    import torch

    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    _log.info("Loading gsplat's kernels; the first build takes some minutes")
    _prepare_build(torch.cuda.get_device_capability())
    try:
        with contextlib.redirect_stdout(sys.stderr):
            from gsplat.cuda._backend import _C
    except (ImportError, RuntimeError, OSError) as error:  # no compiler, no headers, no ninja
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return f"gsplat's kernels could not be built ({lines[0]})"
    return "" if _C is not None else "gsplat's kernels need the CUDA toolkit (nvcc) to be built, and it was not found"


def _prepare_build(capability: tuple[int, int]) -> None:
    """Set the environment for torch's extension builder: toolkit folder, architecture of this GPU, ninja."""
    home = cuda_home()
    if home:
        os.environ.setdefault("CUDA_HOME", home)
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "{}.{}".format(*capability))
    if shutil.which("ninja") is None:  # it is installed next to the interpreter, which may not be on the path
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def cuda_home() -> str:
    """The toolkit's folder as nvcc reports it, "" without nvcc. The nvcc on the path may be a wrapper."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return ""
    command = [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull, "-o", os.devnull]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    top = re.search(r"^#\$ TOP=(.+)$", output.stderr + output.stdout, re.MULTILINE)
    return str(Path(top[1].strip()).resolve()) if top else ""
