"""The whole workflow in Blender without a window: import a splat, click an object, split it off.

Usage: `python3 scripts/demo.py` (with a synthetic splat), `python3 scripts/demo.py --scene FILE.ply
[--labels labels.npy]` (with your splat). It writes pictures, PLY files and a .blend to demo_output. If the environment
is missing, it makes it first.
"""

import bootstrap

bootstrap.ensure()  # the code below runs in Python 3.13 with all packages

import argparse  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from blender_saga.errors import UserError  # noqa: E402

START = time.monotonic()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Select an object in a splat with one click, in headless Blender.")
    parser.add_argument("--scene", type=Path, help="a 3D Gaussian Splatting PLY (default: a synthetic tabletop)")
    parser.add_argument("--labels", type=Path, help="numpy file, int [N] or [N,2]: object (and part), 0 = none")
    parser.add_argument("--steps", type=int, default=0, help="training steps (default: depends on the device)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder (default: demo_output)")
    args = parser.parse_args()
    if args.labels and not args.scene:
        parser.error("--labels needs --scene")
    if args.steps < 0:
        parser.error("--steps must not be negative")
    return args


def run(args: argparse.Namespace, profile: str) -> bool:
    """Run all steps and print each; returns whether all checks passed.

    Raises:
        UserError: if the input cannot be used.
    """
    import demo_blender
    import demo_pictures
    import demo_scene

    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {args.out} cannot be made", error.strerror or "", "Choose another one") from error
    scene = demo_scene.open_scene(args.scene, args.labels, args.out)
    say(f"Opened {scene.path}: {len(scene.cloud):,} Gaussians, SH degree {scene.cloud.sh_degree}")
    aim = demo_scene.choose_click(scene)
    say(f"Chose the click: pixel {aim.x}, {aim.y} of a {aim.view.width} x {aim.view.height} view{aim.on}")
    blender = demo_blender.Blender(profile, args.out)
    say(f"Built {blender.zip_path.name}, installed it in Blender {blender.version}")
    blender.open(scene.path)
    say(f"Imported it into Blender as a point cloud of {blender.count():,} points")
    say(f"Started the backend: {blender.start_backend()}")
    say(f"{blender.train(args.steps)}")
    pictures = demo_pictures.Pictures(args.out, aim)
    pictures.before(blender.clouds())
    answer = blender.click_until_part(aim, say)
    say(f"Selected {answer.mask.sum():,} of {len(answer.mask):,} Gaussians with one click")
    for line in demo_scene.judge(scene, aim, answer.mask):
        say(line)
    pictures.selected(blender.clouds(), answer)
    part = blender.split_and_export(args.out / f"{scene.path.stem}_object.ply")
    say(f"Split it off as {part.name} and exported it to {part.path}")
    problem = demo_scene.check_export(scene, answer.mask, part.path)
    same = f"Read it again: {answer.mask.sum():,} Gaussians with all SH coefficients, the same as in {scene.path.name}"
    say(problem or same)
    blender.lift_out(part.name)
    pictures.after(blender.clouds())
    say(f"Wrote {', '.join(path.name for path in (*pictures.written, blender.close()))} in {args.out}")
    return not problem


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"[{time.monotonic() - START:6.1f} s] {text}", flush=True)


def main() -> int:
    """Command line; returns the exit code: 0 for success, 1 if a check failed, 2 if the input cannot be used."""
    args = arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="blender_saga_demo_") as profile:
            return 0 if run(args, profile) else 1
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
