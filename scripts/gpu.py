"""Run all tests and benchmarks for a machine with a CUDA GPU: the GPU tests, then the benchmarks on GPU and CPU.

Usage: `python3 scripts/gpu.py [FOLDER] [--quick] [--minutes 10] [--as-is]`. It writes FOLDER/gpu.json (the machine, the
results of the tests, all rows) and FOLDER/tests.txt, and prints the same lines. The first minutes build the kernels of
gsplat, once; `TORCH_EXTENSIONS_DIR` is their folder. The output names the rows for which the minutes did not suffice.
"""

import sys

import bootstrap

if "--as-is" not in sys.argv:
    bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

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
"""The rows that need a GPU come first."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, as a test of the rows")
    parser.add_argument("--as-is", action="store_true", help="use the current Python with its packages")
    parser.add_argument("--minutes", type=float, default=10.0, help="start no row after this time")
    return parser.parse_args()


QUESTION = """
import json
from saga_backend.common.device import find_device
from saga_backend.rasterizer.select import gsplat_obstacle
found = find_device("auto")
print(json.dumps({"device": found.name, "note": found.note, "gsplat": gsplat_obstacle() or "kernels work"}))
"""


def machine() -> dict[str, object]:
    """A description of the machine. Another process finds it, so that this one uses no GPU memory."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backend"), os.environ.get("PYTHONPATH", "")])
    command, environ = [sys.executable, "-c", QUESTION], {**os.environ, "PYTHONPATH": paths}
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=False)
    lines = [line for line in result.stdout.splitlines() if line.startswith("{")]
    answer = json.loads(lines[-1]) if lines else {"device": "", "note": result.stderr.strip()[-500:]}
    return {"platform": platform.platform(), "processor": processor(), **answer}


def processor() -> str:
    """The name of the processor."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def run_tests(log: Path) -> dict[str, object]:
    """Run the GPU tests; their output goes to a file."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-rs"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    log.write_text(result.stdout + result.stderr)
    lines = result.stdout.strip().splitlines()
    return {"exit_code": result.returncode, "summary": lines[-1] if lines else ""}


def run_row(name: str, device: str, quick: bool) -> list[dict[str, object]]:
    """Run one benchmark; returns its lines."""
    command = [sys.executable, str(ROOT / "scripts" / "bench.py"), name, "--as-is", "--device", device] + [
        "--quick"
    ] * quick
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def main() -> int:
    """Run all; returns the exit code, 0 if the tests passed and no row failed."""
    args = arguments()
    args.folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
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
        elif time.monotonic() - start > 60 * args.minutes:
            left_out.append(f"{name} on {device}: no time left")
        else:
            rows += run_row(name, device, args.quick)
            print(*(json.dumps(row) for row in rows[-3:]), sep="\n", flush=True)
        # The file is written after every row, because the machine may stop at any time.
        (args.folder / "gpu.json").write_text(json.dumps(out, indent=1))
    print(json.dumps({"seconds": round(time.monotonic() - start), "left_out": left_out}), flush=True)
    return 0 if out["tests"]["exit_code"] == 0 and not any("error" in row for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
