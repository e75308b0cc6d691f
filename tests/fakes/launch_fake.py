"""`backend/launch.py` with a session that needs no torch. Run like it: `python -I launch_fake.py --addon-dir ...`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def open_fake_session(wanted: str) -> tuple[object, object]:
    """Imported only now: launch.py has to make the packages importable first."""
    heavy = {"torch", "numba"} & set(sys.modules)
    assert not heavy, f"{heavy} imported before the first client"
    print("a library that prints", flush=True)  # must not reach the parent's pipe
    sys.path.append(str(ROOT))
    session = importlib.import_module(f"tests.fakes.{os.environ.get('SAGA_TEST_SESSION', 'session')}")
    return session.open_session(wanted)


if __name__ == "__main__":
    if os.environ.get("SAGA_TEST_DIE"):
        sys.exit("it was told to die")
    spec = importlib.util.spec_from_file_location("launch", ROOT / "backend" / "launch.py")
    launch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch)
    launch.run(open_fake_session)
