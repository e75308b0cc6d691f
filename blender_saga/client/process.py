"""The backend's process: start it, read where it listens, end it, say why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Launch:
    """What is started.

    Attributes:
        python: the Python that has torch.
        launch_path: `backend/launch.py`.
        addon_dir: the folder with `wire/` and `gaussians/`, handed to launch.py.
        log_path: file the backend writes its log to; a running backend of its own needs a file of its own.
        device: "auto", "cpu" or "cuda".
    """

    python: Path
    launch_path: Path
    addon_dir: Path
    log_path: Path
    device: str = "auto"
