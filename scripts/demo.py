"""The main job from end to end: a splat, a click, an object of its own, in Blender without a window.

Usage: `python3 scripts/demo.py` (makes a splat of its own), `python3 scripts/demo.py --scene FILE.ply
[--labels labels.npy]` (yours). Pictures, PLY files and a .blend come into demo_output. Makes the environment first if
it is missing.
"""

import bootstrap

bootstrap.ensure()  # from here on: Python 3.13 with every package

import argparse  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from blender_saga.errors import UserError  # noqa: E402

BEGAN = time.monotonic()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Select an object in a splat with one click, in headless Blender.")
    parser.add_argument("--scene", type=Path, help="a 3D Gaussian Splatting PLY (default: a tabletop made for this)")
    parser.add_argument("--labels", type=Path, help="numpy file, int [N] or [N,2]: object (and part), 0 = none")
    parser.add_argument("--steps", type=int, default=0, help="training steps (default: the device's own)")
    parser.add_argument("--out", type=Path, default=Path("demo_output"), help="folder (default: demo_output)")
    args = parser.parse_args()
    if args.labels and not args.scene:
        parser.error("--labels needs --scene")
    if args.steps < 0:
        parser.error("--steps must not be negative")
    return args


def run(args: argparse.Namespace, profile: str) -> bool:
    """Go through the steps, telling each; returns whether everything came out right.

    Raises:
        UserError: what cannot be done with this input.
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
    say(f"Chose where to click: pixel {aim.x}, {aim.y} of a {aim.view.width} x {aim.view.height} view{aim.on}")
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
    wrong = demo_scene.check_export(scene, answer.mask, part.path)
    say(
        wrong or f"Read it back: {answer.mask.sum():,} Gaussians with all SH coefficients, each as in {scene.path.name}"
    )
    blender.lift_out(part.name)
    pictures.after(blender.clouds())
    say(f"Wrote {', '.join(path.name for path in (*pictures.written, blender.close()))} in {args.out}")
    return not wrong


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.monotonic() - BEGAN:6.1f} s] {text}", flush=True)


def main() -> int:
    """Returns the exit code: 0 if all went well, 1 if a check failed, 2 for input that cannot be used."""
    args = arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="blender_saga_demo_") as profile:
            return 0 if run(args, profile) else 1
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
