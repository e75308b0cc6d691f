"""Every message between Blender (client) and the backend (server): import them from here.

`requests` and `replies` define them by direction, and `parts` their components. `message` has their base classes.

A request gets exactly one final answer: its reply, `Failed` or `Stopped`; before it any number of `Progress`. The id
that ties them together is part of the frame (codec.py), not of the message. Arrays carry dtype and shape on the wire.
"""

from __future__ import annotations

# Names are written where they are defined, and nowhere else: whoever adds a message adds it in one place.
from .message import *  # noqa: F403
from .parts import *  # noqa: F403
from .replies import *  # noqa: F403
from .requests import *  # noqa: F403
