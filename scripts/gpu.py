"""Everything that needs a CUDA GPU, in one call: its tests, then all benchmarks on it and on the CPU beside it.

Usage: `python3 scripts/gpu.py [FOLDER] [--quick] [--minutes 10] [--as-is]`. Writes FOLDER/gpu.json (the machine, the
outcome of the tests, every row) and FOLDER/tests.txt; prints the same lines. gsplat's kernels are built once, in the
first minutes; `TORCH_EXTENSIONS_DIR` says where they are kept. Rows that do not fit into the minutes are named.
"""

import sys

import bootstrap

if "--as-is" not in sys.argv:
    bootstrap.ensure()  # from here on: Python 3.13 with every package

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = bootstrap.ROOT
ORDER = (
    ("raster", "cuda"), ("training_step", "cuda"), ("click", "cpu"), ("scale", "cpu"), ("evidence", "cpu"),
    ("training_memory", "cuda"), ("raster", "cpu"), ("training_step", "cpu"), ("selection_bits", "cpu"),
    ("import", "cpu"), ("export", "cpu"),
)  # fmt: skip
"""What only a GPU can tell comes first."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--quick", action="store_true", help="small sizes: does everything run?")
    parser.add_argument("--as-is", action="store_true", help="in the Python that runs this, whatever packages it has")
    parser.add_argument("--minutes", type=float, default=10.0, help="begin nothing after this time")
    return parser.parse_args()


QUESTION = """
import json
from saga_backend.common.device import find_device
from saga_backend.rasterizer.select import gsplat_obstacle
found = find_device("auto")
print(json.dumps({"device": found.name, "note": found.note, "gsplat": gsplat_obstacle() or "kernels work"}))
"""


def machine() -> dict[str, object]:
    """What the numbers were measured on, in words; asks another process, so that this one holds nothing on the GPU."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backend"), os.environ.get("PYTHONPATH", "")])
    command, environ = [sys.executable, "-c", QUESTION], {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    told = json.loads(lines[-1]) if lines else {"device": "", "note": result.stderr.strip()[-500:]}
    return {"platform": platform.platform(), "processor": processor(), **told}


def processor() -> str:
    """The processor's name."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def run_tests(log: Path) -> dict[str, object]:
    """The GPU's tests; their output goes to a file."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-rs"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    log.write_text(result.stdout + result.stderr)
    lines = result.stdout.strip().splitlines()
    return {"exit_code": result.returncode, "summary": lines[-1] if lines else ""}


def run_row(name: str, device: str, quick: bool) -> list[dict[str, object]]:
    """One benchmark; its lines."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), name, "--as-is", "--device", device] + [
        "--quick"
    ] * quick
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def main() -> int:
    """Run all; returns the exit code: 0 if the tests passed and no row failed."""
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    out: dict[str, object] = {"machine": machine()}
    print(json.dumps(out["machine"]), flush=True)
    out["tests"] = run_tests(args.folder / "tests.txt")
    print(json.dumps(out["tests"]), flush=True)
    rows: list[dict[str, object]] = []
    left_out: list[str] = []
    out |= {"rows": rows, "left_out": left_out}
    for name, device in ORDER:
        if device == "cuda" and out["machine"]["device"] != "cuda":
            left_out.append(f"{name}: no CUDA here")
        elif time.monotonic() - began > 60 * args.minutes:
            left_out.append(f"{name} on {device}: no time left")
        else:
            rows += run_row(name, device, args.quick)
            print(*(json.dumps(row) for row in rows[-3:]), sep="\n", flush=True)
        (args.folder / "gpu.json").write_text(json.dumps(out, indent=1))  # after every row: a lease may end at any time
    print(json.dumps({"seconds": round(time.monotonic() - began), "left_out": left_out}), flush=True)
    return 0 if out["tests"]["exit_code"] == 0 and not any("error" in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
