"""Memory use of the backend."""

from __future__ import annotations

import psutil

from blender_saga.wire.messages import BackendState

_MB = 2**20


def backend_state(device: str) -> BackendState:
    """Memory of this process, of the machine and of the device ("cpu" or "cuda")."""
    used = psutil.Process().memory_info().rss // _MB
    available = psutil.virtual_memory().available // _MB
    if device == "cpu":
        return BackendState(used, available, "CPU")
    import torch

    free, total = torch.cuda.mem_get_info()
    return BackendState(used, available, torch.cuda.get_device_name(), (total - free) // _MB, total // _MB)
