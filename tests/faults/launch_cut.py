"""`backend/launch.py`, whose socket is closed half-way through the first long frame it sends once a file is there."""

from __future__ import annotations

import importlib.util
import os
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_VARIABLE = "SAGA_TEST_CUT"
LONG = 1000  # bytes


def _cut_frames(folder: Path) -> None:
    from blender_saga.wire import channel

    whole = channel.Channel.send_frame

    def send_frame(self: channel.Channel, frame: bytes) -> None:
        if len(frame) < LONG or not folder.exists():
            whole(self, frame)
            return
        self._socket.sendall(struct.pack("!i", len(frame)) + frame[: len(frame) // 2])
        self.close()
        raise channel.ChannelClosed("cut")

    channel.Channel.send_frame = send_frame


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "backend"))
    spec = importlib.util.spec_from_file_location("launch", ROOT / "backend" / "launch.py")
    launch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch)
    launch.make_importable(ROOT / "blender_saga")
    _cut_frames(Path(os.environ[FILE_VARIABLE]))
    launch.make_importable = lambda addon_dir: None  # it is already, and must stay as it is
    launch.run()
