"""Data saved in the .blend: the record on each splat object and the settings of the scene."""

from __future__ import annotations

from collections.abc import Callable

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .sam_settings import SamChoices

BLENDER_DRAWS = bpy.app.version >= (5, 3, 0)
"""Whether Blender draws Gaussian splats itself; earlier versions only draw points."""

listeners: list[Callable[[bpy.types.Context], None]] = []
"""Called when a selection setting changes."""
shaders: list[Callable[[float], None]] = []
"""Called when the strength of a recoloring changes."""

AXES = (
    (
        "RDF",
        "Y Down (3DGS)",
        "Treat the file's Y axis as down; import rotates the splat to Z up and export rotates it back",
    ),
    ("BLENDER", "Unchanged", "Keep the coordinates of the file; export in object space leaves them unchanged"),
)
MODES = (
    ("SET", "Set", "Replace the selection", "SELECT_SET", 0),
    ("ADD", "Add", "Add to the selection (Shift)", "SELECT_EXTEND", 1),
    ("SUBTRACT", "Subtract", "Subtract from the selection (Ctrl)", "SELECT_SUBTRACT", 2),
    ("INTERSECT", "Intersect", "Keep only what both selections contain", "SELECT_INTERSECT", 3),
)

VIEW_MODES = (
    ("COLOR", "Color", "The colors of the splat", "SHADING_RENDERED", 0),
    (
        "SIMILARITY",
        "Similarity",
        "The similarity of each Gaussian to the last click, from blue (low) to red (high)",
        "TEMP",
        1,
    ),
    ("CLUSTERS", "Clusters", "One color for each object found by Segment Scene", "OUTLINER_OB_GROUP_INSTANCE", 2),
    ("PCA", "Features", "The learned features as colors: similar colors belong together", "COLOR", 3),
)
METHODS = (
    ("SAGA", "Features", "Learn a feature for every Gaussian: clicks, similarity, clusters and colors (minutes)"),
    (
        "CLICK-GAUSSIAN",
        "Two Levels",
        "Learn objects and their parts: a switch instead of a slider, and the fastest clicks",
    ),
    ("SEGMENTS", "Segments Only", "Find the segments that many views agree on, without learning features (seconds)"),
)
RECIPES = (
    ("PROTOTYPES", "Fast", "Learn one code for each segment; a few hundred steps are enough"),
    ("PAPER", "As Published", "Learn one feature for each Gaussian, as in the paper; needs many more steps"),
    ("THREE-LEVELS", "Three Levels", "As Published for the Two Levels method, with a level between objects and parts"),
)
VIEWS_FROM = (
    ("VIRTUAL", "This Splat", "Render views of the splat itself; needs no other input"),
    ("CAMERAS", "Blender Cameras", "Render the splat from the cameras in this scene"),
    (
        "PHOTOS",
        "Photos",
        "Use the photos that the splat was made from, with their cameras: COLMAP, transforms.json or LLFF",
    ),
)
MASKS_FROM = (
    ("BUILTIN", "Built-In", "Use the shape and colors of the splat itself; needs no other input"),
    ("SAM", "Segment Anything", "Find masks in the photos or views with Meta's model; needs its weights and more time"),
    ("FILES", "Files", "Read one file per photo or camera from a folder: label maps, SAGA's .pt, .npz or .json"),
)
LEVELS = (
    ("COARSE", "Objects", "Select whole objects"),
    ("MIDDLE", "Middle", "Select parts between whole objects and their smallest parts"),
    ("FINE", "Parts", "Select the smallest parts"),
)
"""Levels of a model with levels, coarsest first; a model with two levels has no middle one."""
SELECT_BY = (
    ("AUTO", "Automatic", "Use a segment if one contains the click, otherwise features"),
    ("SEGMENTS", "Segments", "Use the segments that the views agree on: sharp borders"),
    (
        "SAGA",
        "Features",
        "Use the similarity of learned features; also selects what is in no segment, such as all leaves",
    ),
    ("INSTANT", "Instant", "Use Segment Anything in the current view; needs its weights but no training"),
)
_PATH = {"PATH_SUPPORTS_BLEND_RELATIVE"}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
DRAWINGS = (
    ("SPLATS", "Splats", "Draw the Gaussians, sorted by depth"),
    ("POINTS", "Points", "Draw a small square for each Gaussian; fast on any machine"),
    ("BLENDER", "Blender", "Leave the drawing to Blender"),
)


def _drawing_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Show Blender's own points as bounds only while the extension draws the splat."""
    for obj in self.id_data.objects:
        if obj.type == "POINTCLOUD" and obj.saga.fingerprint and obj.library is None:
            obj.display_type = "TEXTURED" if self.drawing == "BLENDER" else "BOUNDS"


def _selection_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for listener in listeners:
        listener(context)


def _strength_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    for listener in shaders:
        listener(self.recolor_strength)


def _segment_renamed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    self.renamed = True


class SegmentRecord(bpy.types.PropertyGroup):
    """An object found in a splat, or a part of one."""

    name: StringProperty(name="Name", update=_segment_renamed)
    node: IntProperty(description="Number in the attribute saga:cluster")
    parent: IntProperty(description="Number of the segment that contains this one; -1 for none")
    level: IntProperty(description="0 for objects, 1 for their parts, and so on")
    count: IntProperty(description="Number of Gaussians")
    size: FloatProperty(description="Size in scene units")
    hidden: BoolProperty()
    renamed: BoolProperty(description="Whether the user chose the name")


class SplatRecord(bpy.types.PropertyGroup):
    """`Object.saga`: the source of a splat and the trained model that its `saga:id`s refer to."""

    fingerprint: StringProperty(name="Fingerprint", description="Fingerprint of the cloud that saga:id refers to")
    count: IntProperty(name="Gaussians", description="Number of Gaussians in the cloud that saga:id refers to")
    applied: FloatVectorProperty(
        description="Transform applied to the cloud that saga:id refers to, in row-major order",
        size=16,
        default=_IDENTITY,
    )
    source: StringProperty(name="Source", description="File that the splat was imported from", subtype="FILE_PATH")
    axes: EnumProperty(name="Axes", items=AXES)
    baked: FloatVectorProperty(
        description="Transform applied to the points since the import, in row-major order", size=16, default=_IDENTITY
    )
    model_file: StringProperty(
        name="Model",
        description="Model file; empty before training",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    levels: IntProperty(description="Number of granularity levels in the trained model; 0 for a continuous scale")
    segments: CollectionProperty(type=SegmentRecord, description="Objects and parts found by Segment Scene")
    segment: IntProperty(name="Segment", description="Active row of the list")


class PromptRecord(bpy.types.PropertyGroup):
    """One click or box of the current selection, with the view it was made in."""

    positive: BoolProperty(default=True)
    box: BoolProperty(description="Whether the prompt is a box with two corners instead of a click")
    corners: FloatVectorProperty(size=4, description="Corners x, y, x, y in region pixels from the bottom left")
    view: FloatVectorProperty(size=16, description="World-to-camera matrix in row-major order")
    projection: FloatVectorProperty(size=16, description="Camera-to-clip matrix in row-major order")
    width: IntProperty(description="Width of the region in pixels")
    height: IntProperty(description="Height of the region in pixels")


class SceneSettings(SamChoices, bpy.types.PropertyGroup):
    """`Scene.saga`: the settings in the sidebar."""

    views_from: EnumProperty(name="Views", description="Views that the splat is trained on", items=VIEWS_FROM)
    cameras: PointerProperty(
        name="Cameras",
        description="Collection of the cameras to use; all cameras of the scene if empty",
        type=bpy.types.Collection,
    )
    frame_step: IntProperty(
        name="Every Nth Frame",
        description="Render the cameras at every Nth frame of the animation; 0 uses only the current frame",
        min=0,
        soft_max=100,
    )
    photos: StringProperty(
        name="Folder",
        description="Folder that contains the photos and their cameras",
        subtype="DIR_PATH",
        options=_PATH,
    )
    masks_from: EnumProperty(
        name="Masks", description="Source of the masks that separate objects in the views", items=MASKS_FROM
    )
    masks_folder: StringProperty(
        name="Folder",
        description="Folder of mask files named like the photos or cameras, and of masks that Segment Anything stores",
        subtype="DIR_PATH",
        options=_PATH,
    )
    method: EnumProperty(name="Method", description="What the training learns", items=METHODS)
    recipe: EnumProperty(name="Recipe", description="How the training learns features", items=RECIPES)
    steps: IntProperty(
        name="Steps (0: Auto)",
        description="Number of training steps; 0 uses the default of the recipe",
        min=0,
        soft_max=10000,
    )
    views: IntProperty(
        name="Max Views",
        description="Largest number of views; 0 uses 40 views of the splat, or all cameras or photos",
        min=0,
        soft_max=200,
    )
    show_sources: BoolProperty(description="Show the settings in the Train panel", default=True)
    show_trained: BoolProperty(description="Show the results of the training in the Train panel")
    scale_auto: BoolProperty(
        name="Auto", description="Choose the scale from the first click", default=True, update=_selection_changed
    )
    scale: FloatProperty(
        name="Scale",
        description="Size of the object to select, from 0 (small parts) to 1 (the largest objects)",
        min=0.0,
        max=1.0,
        default=0.5,
        update=_selection_changed,
    )
    level: EnumProperty(name="Level", description="How much a click selects", items=LEVELS, update=_selection_changed)
    size_units: FloatProperty(description="Scale of the last selection, in scene units")
    threshold_auto: BoolProperty(
        name="Auto", description="Choose the threshold from the click", default=True, update=_selection_changed
    )
    threshold: FloatProperty(
        name="Threshold",
        description="Lowest similarity to the click that is selected; higher values select less",
        min=0.0,
        max=1.0,
        default=0.75,
        update=_selection_changed,
    )
    select_by: EnumProperty(
        name="Select By",
        description="How a click finds what belongs together",
        items=SELECT_BY,
        update=_selection_changed,
    )
    snap: BoolProperty(
        name="Snap to Segment",
        description="Replace a selection made by features with a very similar segment",
        default=True,
        update=_selection_changed,
    )
    drop_floaters: BoolProperty(
        name="Remove Floaters",
        description="Leave out isolated specks away from the rest of the selection",
        update=_selection_changed,
    )
    only_connected: BoolProperty(
        name="Connected Only",
        description="Select only the pieces that were clicked, without detached parts",
        update=_selection_changed,
    )
    fill_holes: BoolProperty(
        name="Fill Holes", description="Add small gaps that the selection surrounds", update=_selection_changed
    )
    only_visible: BoolProperty(
        name="Visible Only",
        description="Select only Gaussians that are visible in the views of the clicks",
        update=_selection_changed,
    )
    text: StringProperty(name="Text", description="Text to search for, for example: red chair")
    words: StringProperty(
        name="Words", description="Names to choose from, separated by commas, for example: chair, table, lamp"
    )
    recolor_source: StringProperty(name="From", description="Current look of the selection, for example: red box")
    recolor_text: StringProperty(name="To", description="New look of the selection, for example: blue box")
    recolor_strength: FloatProperty(
        name="Strength",
        description="Fraction of the color change, from 0 (no change) to 1 (the full change)",
        min=0.0,
        max=1.0,
        default=1.0,
        update=_strength_changed,
    )
    prompts: CollectionProperty(type=PromptRecord, description="Clicks and boxes of the current selection")
    prompts_state: StringProperty(description="State of the objects when the prompts were answered")
    mode: EnumProperty(name="Mode", description="What a click does to the selection", items=MODES)
    drawing: EnumProperty(
        name="Draw As",
        description="How splats are drawn in the viewport",
        items=DRAWINGS,
        default="BLENDER" if BLENDER_DRAWS else "SPLATS",
        update=_drawing_changed,
    )
    view_mode: EnumProperty(name="Show", description="What the colors of the splat show", items=VIEW_MODES)
    density: FloatProperty(
        name="Density",
        description="Fraction of the Gaussians that is drawn; does not affect the selection",
        min=0.01,
        max=1.0,
        default=1.0,
        subtype="FACTOR",
    )
    show_selection: BoolProperty(
        name="Highlight Selection", description="Tint the selected Gaussians in every view mode", default=True
    )


CLASSES = (SegmentRecord, SplatRecord, PromptRecord, SceneSettings)


def attach() -> None:
    """Add the `saga` record to objects and scenes, after the classes are registered."""
    bpy.types.Object.saga = PointerProperty(type=SplatRecord)
    bpy.types.Scene.saga = PointerProperty(type=SceneSettings)


def detach() -> None:
    """Undo `attach`, before the classes are unregistered."""
    del bpy.types.Scene.saga
    del bpy.types.Object.saga
