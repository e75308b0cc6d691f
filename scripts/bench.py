"""Measure the numbers that the design limits. A row is one JSON line, with a slow reference from the same run.

Usage: `python3 scripts/bench.py` (all rows), `python3 scripts/bench.py click raster` (these rows), `--n 1000000` (this
size only), `--device cuda` (on the GPU where possible), `--quick` (small sizes, as a test of the rows). Every row and
size runs in its own process, so its peak memory is its own. A row that fails prints {"bench", "n", "error"}, and the
exit code is 1.
"""

import sys

import bootstrap

if "--as-is" not in sys.argv:
    bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

import argparse
import json
import subprocess
from importlib import import_module

SMALL, LARGE, HUGE = 100_000, 1_000_000, 5_000_000
QUICK = 3_000
ROWS = {
    "click": ("bench_queries", "click", (SMALL, LARGE, HUGE)),
    "scale": ("bench_queries", "scale", (SMALL, LARGE, HUGE)),
    "click_levels": ("bench_click_gaussian", "click_levels", (SMALL, LARGE, HUGE)),
    "click_step": ("bench_click_gaussian", "click_step", (SMALL, LARGE)),
    "raster": ("bench_queries", "raster", (SMALL, LARGE)),
    "evidence": ("bench_evidence", "evidence", (SMALL, LARGE)),
    "mask_memory": ("bench_masks", "mask_memory", (SMALL,)),
    "training_step": ("bench_training", "training_step", (SMALL, LARGE)),
    "training_memory": ("bench_training", "training_memory", (SMALL, LARGE, HUGE)),
    "selection_bits": ("bench_queries", "selection_bits", (SMALL, LARGE, HUGE)),
    "click_blender": ("bench_click", "click_blender", (200_000, LARGE, HUGE)),
    "click_training": ("bench_click", "click_training", (SMALL, LARGE)),
    "selection_write": ("bench_viewport", "selection_write", (LARGE, HUGE)),
    "draw": ("bench_viewport", "draw", (200_000, LARGE, HUGE)),
    "undo_memory": ("bench_viewport", "undo_memory", (LARGE,)),
    "import": ("bench_files", "import_", (LARGE,)),
    "export": ("bench_files", "export", (LARGE,)),
    "import_blender": ("bench_blender", "import_blender", (LARGE,)),
    "export_blender": ("bench_blender", "export_blender", (LARGE,)),
    "file_memory": ("bench_blender", "file_memory", (HUGE,)),
}
"""The module, the function and the sizes of each row."""
LIMIT = 3600
"""Limit for one row and size, seconds."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="NAME", help=f"{', '.join(ROWS)} (default: all)")
    parser.add_argument("--n", type=int, default=0, help="number of Gaussians (default: the sizes of each row)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats; the numbers mean nothing")
    parser.add_argument("--as-is", action="store_true", help="use the current Python with its packages")
    parser.add_argument("--here", action="store_true", help="one row, one size, in this process")
    args = parser.parse_args()
    unknown = set(args.rows) - set(ROWS)
    if unknown:
        parser.error(f"there is no row {', '.join(sorted(unknown))}")
    if args.here and (len(args.rows) != 1 or args.n < 1):
        parser.error("--here needs one row and --n")
    return args


def run_here(name: str, args: argparse.Namespace) -> None:
    """Measure one row and print its lines."""
    from bench_measure import Case

    sys.path.insert(1, str(bootstrap.ROOT / "backend"))
    module, function, _ = ROWS[name]
    for line in getattr(import_module(module), function)(Case(args.n, args.device, args.quick)):
        print(json.dumps(line.to_dict()), flush=True)


def run_apart(name: str, n: int, args: argparse.Namespace) -> bool:
    """Measure one row in its own process; returns whether it succeeded."""
    command = [sys.executable, __file__, name, "--as-is", "--here", "--n", str(n), "--device", args.device]
    try:
        result = subprocess.run(command + ["--quick"] * args.quick, stderr=subprocess.PIPE, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        error = f"ended after {LIMIT} s"
    else:
        if result.returncode == 0:
            return True
        text = result.stderr.decode(errors="replace").strip()
        print(text, file=sys.stderr)
        error = text.splitlines()[-1] if text else f"exit code {result.returncode}"
    print(json.dumps({"bench": name, "device": args.device, "n": n, "error": error}), flush=True)
    return False


def main() -> int:
    """Run the requested rows; returns the exit code."""
    args = arguments()
    if args.here:
        run_here(args.rows[0], args)
        return 0
    succeeded = True
    for name in args.rows or ROWS:
        sizes = (args.n,) if args.n else (QUICK,) if args.quick else ROWS[name][2]
        for n in sizes:
            succeeded = run_apart(name, n, args) and succeeded
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
