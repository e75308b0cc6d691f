"""Train Affinity."""

from __future__ import annotations

import contextlib

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from ..errors import Cancelled, UserError
from ..scene.requests import train
from ..scene.requests.lookup import find_splat
from ..scene.state.launch import backend_launch, ensure_started
from ..scene.state.link import link
from ..scene.state.properties import MASKS_FROM, METHODS, RECIPES, VIEWS_FROM
from ..scene.state.sam_settings import CHOICES, SamChoices
from ..scene.state.status import status
from ..scene.state.trainings import trainings
from ..scene.state.undo import push_undo
from ..wire.messages import Trained, TrainSettings
from .operator_base import wait_property
from .reporting import Result, reported

_SOURCES = ("views_from", "frame_step", "photos", "masks_from", "masks_folder")
_PATH = {"SKIP_SAVE", "PATH_SUPPORTS_BLEND_RELATIVE"}


class SAGA_OT_train(SamChoices, bpy.types.Operator):
    """Learn which Gaussians of the splat belong together, so that a click can select an object"""

    bl_idname = "saga.train"
    bl_label = "Train Affinity"

    object: StringProperty(
        name="Object", description="Name of the object; the active object if empty", options={"SKIP_SAVE"}
    )
    views_from: EnumProperty(name="Views", items=VIEWS_FROM, options={"SKIP_SAVE"})
    cameras: StringProperty(
        name="Cameras",
        description="Name of a collection of cameras; all cameras of the scene if empty",
        options={"SKIP_SAVE"},
    )
    frame_step: IntProperty(
        name="Every Nth Frame",
        description="Step of the animation frames; 0 uses only the current frame",
        min=0,
        options={"SKIP_SAVE"},
    )
    photos: StringProperty(
        name="Photos",
        description="Folder that contains the photos and their cameras",
        subtype="DIR_PATH",
        options=_PATH,
    )
    masks_from: EnumProperty(name="Masks", items=MASKS_FROM, options={"SKIP_SAVE"})
    masks_folder: StringProperty(
        name="Mask Files",
        description="Folder of mask files, named like the photos or cameras",
        subtype="DIR_PATH",
        options=_PATH,
    )
    sam_weights: StringProperty(
        name="SAM Weights", description="Weights file; the one from the preferences if empty", options={"SKIP_SAVE"}
    )
    method: EnumProperty(name="Method", items=METHODS, options={"SKIP_SAVE"})
    recipe: EnumProperty(name="Recipe", items=RECIPES, options={"SKIP_SAVE"})
    steps: IntProperty(
        name="Steps",
        description="Number of training steps; 0 uses the default of the device",
        min=0,
        options={"SKIP_SAVE"},
    )
    views: IntProperty(
        name="Views", description="Largest number of views; 0 uses the default", min=0, options={"SKIP_SAVE"}
    )
    width: IntProperty(
        name="Width", description="Width of the views in pixels; 0 uses the default", min=0, options={"SKIP_SAVE"}
    )
    height: IntProperty(
        name="Height", description="Height of the views in pixels; 0 uses the default", min=0, options={"SKIP_SAVE"}
    )
    pixels: IntProperty(
        name="Pixels",
        description="Number of pixels per training step; 0 uses the default",
        min=0,
        options={"SKIP_SAVE"},
    )
    seed: IntProperty(name="Seed", description="Seed of the random numbers", min=0, options={"SKIP_SAVE"})
    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Train in the background with the sidebar's settings when called by a button."""
        settings = context.scene.saga
        for name in (*_SOURCES, *CHOICES):
            setattr(self, name, getattr(settings, name))
        self.cameras = settings.cameras.name if settings.cameras else ""
        self.method, self.recipe = settings.method, settings.recipe
        self.steps, self.views, self.wait = settings.steps, settings.views, bpy.app.background
        return self._start(context)

    @reported
    def _start(self, context: bpy.types.Context) -> Result:
        ensure_started()
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Start the training; wait for its end if `wait` is set. Only a successful training changes the object."""
        settings = TrainSettings(
            method=self.method.lower(),
            recipe=self.recipe.lower(),
            steps=self.steps,
            views=self.views,
            width=self.width,
            height=self.height,
            pixels=self.pixels,
            seed=self.seed,
        )
        return _follow(self, train.start(context, find_splat(context, self.object), settings, self))


class SAGA_OT_train_resume(bpy.types.Operator):
    """Resume the training that was interrupted when the backend ended, from its last checkpoint"""

    bl_idname = "saga.train_resume"
    bl_label = "Resume Training"

    wait: wait_property()

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> Result:
        """Train in the background when called by a button."""
        self.wait = bpy.app.background
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> Result:
        """Start the backend if necessary, then the training."""
        if trainings.interrupted is not None:
            link.start(backend_launch())
        return _follow(self, train.resume())


def _follow(operator: bpy.types.Operator, started: train.Training) -> Result:
    """Report the end of a training in the background, or wait for it if `wait` is set."""
    if not operator.wait:
        started.request.on_end = lambda _: _finish(started)
        return {"FINISHED"}
    with contextlib.suppress(UserError, Cancelled):  # recording the answer raises it again
        started.request.wait()
    answer = train.record(started)
    status.tell(_summary(answer))
    operator.report({"INFO"}, _summary(answer))
    return {"FINISHED"}


def _finish(started: train.Training) -> None:
    """End a background training: show the result in the panels and add an undo step."""
    try:
        status.tell(_summary(train.record(started)))
    except UserError as error:
        status.tell(error.sentence(), failed=True)
    except Cancelled:
        status.tell("Training cancelled; nothing was changed. Train with the same settings to continue")
    else:
        if not any(obj.saga.fingerprint == started.fingerprint for obj in bpy.data.objects):
            return  # another file is open: there is nothing to undo
        push_undo("Train Affinity")


def _summary(answer: Trained) -> str:
    done = f"Trained {answer.steps:,} steps on" if answer.steps else "Found segments in"
    words = f"{done} {answer.views} views and {answer.masks:,} masks in {sum(answer.seconds):.0f} s"
    return f"{words}. The model is not saved: press Save Model" if answer.unsaved else words


CLASSES = (SAGA_OT_train, SAGA_OT_train_resume)
