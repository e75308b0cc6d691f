"""Fit a tiny CLIP to pictures of synthetic objects, for text search on machines without real weights.

    .venv/bin/python scripts/tiny_clip.py tiny_clip.pt

It knows colored boxes, spheres and knobs ("red box") and nothing else. A JSON file beside the weights has the
configuration.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "backend")]


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="tiny_clip.pt", help="file to write the weights to")
    parser.add_argument("--steps", type=int, default=0, metavar="N", help="optimizer steps (default: some minutes)")
    parser.add_argument("--scenes", type=int, default=0, metavar="N", help="number of training scenes")
    options = parser.parse_args()
    from saga_backend.cli.files import LoggedControl
    from saga_backend.tools.tiny_clip import TinySettings, fit, save

    given = {name: value for name in ("steps", "scenes") if (value := getattr(options, name)) > 0}
    control = LoggedControl()
    save(fit(replace(TinySettings(), **given), control), options.out)
    control.end()
    print(f"{options.out}: {', '.join(f'{phase} {seconds:.0f} s' for phase, seconds in control.seconds.items())}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
