"""`evaluate --method instant`: instant select with SAM, or with simulated masks from the labels in its place."""

from __future__ import annotations

import argparse
import logging
from dataclasses import fields

from blender_saga.errors import UserError

from ..common.device import find_device
from ..evaluation.instant import InstantJudge
from ..evaluation.simulated import MaskDamage
from ..evaluation.simulated_prompts import SimulatedSegmenter
from ..masks.sam.model import open_sam
from ..rasterizer.select import rasterizer
from ..selection.instant.lift import NEIGHBORS
from ..selection.instant.segmenter import SamSegmenter, Segmenter
from .inputs import Subject

log = logging.getLogger(__name__)


def check_instant(options: argparse.Namespace) -> None:
    """Reject options that do not apply to instant select, or only to it.

    Raises:
        UserError: if there are any.
    """
    if options.method != "instant":
        if options.sam:
            raise UserError(
                "--sam applies to instant select", f"the method is {options.method}", "Add --method instant"
            )
        return
    conflicts = {"model": options.model, "curve": options.curve, "masks": options.masks not in (None, "simulated")}
    given = [name for name, is_given in conflicts.items() if is_given]
    if given:
        why = "instant select trains nothing and uses its own segmenter"
        raise UserError(f"--{given[0]} does not apply to instant select", why, "Leave it out")
    if options.dataset and not options.sam:
        raise UserError("A dataset has no 3D labels to simulate masks from", fix="Give --sam WEIGHTS")
    if not 0 <= options.neighbors <= len(NEIGHBORS):
        raise UserError(
            f"There are no {options.neighbors} neighbors",
            f"their number is 0 to {len(NEIGHBORS)}",
            fix="Give a number in this range",
        )
    instant_damage(options)


def instant_masks(options: argparse.Namespace) -> str:
    """The source of masks: the name of the weights, or "simulated"."""
    return options.sam.name if options.sam else "simulated"


def instant_damage(options: argparse.Namespace) -> MaskDamage:
    """The faults of the masks in place of SAM.

    SAM always returns a mask of the clicked object. So by default no masks are dropped, merged or split, and only the
    borders are ragged.

    Raises:
        UserError: if they are out of range.
    """
    given = {f.name: value for f in fields(MaskDamage) if (value := getattr(options, f.name)) is not None}
    if "ragged" in given:
        given["ragged"] = tuple(given["ragged"])
    return MaskDamage(**({"dropped": 0.0, "merged": 0.0, "split": 0.0} | given))


def instant_judge(options: argparse.Namespace, subject: Subject) -> InstantJudge:
    """The judge of instant select.

    Raises:
        UserError: if the weights cannot be used.
    """
    device = find_device(options.device)
    log.info("computing on: %s", device.note)
    segmenter: Segmenter
    if options.sam:
        segmenter = SamSegmenter(open_sam(options.sam, device.name))
    else:
        assert subject.labels is not None  # checked: a dataset needs --sam, other scenes have labels
        segmenter = SimulatedSegmenter(subject.cloud, subject.labels, options.seed, instant_damage(options))
    return InstantJudge(subject.cloud, segmenter, rasterizer(device.name), options.neighbors)
