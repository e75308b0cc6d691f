"""Files that look like a `.saga` file from outside: a safetensors header with facts, and no arrays."""

from __future__ import annotations

import json


def saga_file(scene: str, **facts: object) -> bytes:
    """The bytes of one that belongs to a scene."""
    about = {"__metadata__": {"saga": json.dumps({"fingerprint": scene, "steps": 3, "levels": 0, **facts})}}
    header = json.dumps(about).encode()
    return len(header).to_bytes(8, "little") + header


def facts_of(data: bytes) -> dict:
    """What `saga_file` was given."""
    return json.loads(json.loads(data[8:])["__metadata__"]["saga"])
