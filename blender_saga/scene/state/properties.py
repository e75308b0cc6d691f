"""What is saved in the .blend: the record on each splat object, and the settings of the scene."""

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
"""Whether Blender draws Gaussian splats itself; before, it only knows points."""

listeners: list[Callable[[bpy.types.Context], None]] = []
"""Called when a setting of the selection has changed."""
shaders: list[Callable[[float], None]] = []
"""Called when the strength of a recoloring has changed."""

AXES = (
    ("RDF", "Turned from the file", "The file's y axis points down; import turned it to z up, export turns it back"),
    ("BLENDER", "As it is", "The numbers are as they came; export in object space leaves them so"),
)
MODES = (
    ("SET", "Set", "Replace the selection", "SELECT_SET", 0),
    ("ADD", "Add", "Add to the selection (Shift)", "SELECT_EXTEND", 1),
    ("SUBTRACT", "Subtract", "Take away from the selection (Ctrl)", "SELECT_SUBTRACT", 2),
    ("INTERSECT", "Intersect", "Keep what is in both", "SELECT_INTERSECT", 3),
)

VIEW_MODES = (
    ("COLOR", "Color", "What the splat looks like", "SHADING_RENDERED", 0),
    ("SIMILARITY", "Similarity", "How similar each splat is to the last click: blue not at all, red very", "TEMP", 1),
    ("CLUSTERS", "Clusters", "A color for each thing of the last clustering", "OUTLINER_OB_GROUP_INSTANCE", 2),
    ("PCA", "Features", "The learned features as colors: what looks alike belongs together", "COLOR", 3),
)
METHODS = (
    ("SAGA", "Features", "Learn a feature for everything: clicks, similarity, clusters and colors. Minutes"),
    ("CLICK-GAUSSIAN", "Two Levels", "Learn things and their parts: a switch instead of a slider, the fastest clicks"),
    ("SEGMENTS", "Segments Only", "Only find the segments on which many views agree: clicks work at once. Seconds"),
)
RECIPES = (
    ("PROTOTYPES", "Fast", "One code for every segment; a few hundred steps are enough"),
    ("PAPER", "As Published", "One feature for every Gaussian, as the authors do; needs many more steps"),
    ("THREE-LEVELS", "Three Levels", "As Published, of the method Two Levels: with one between things and parts"),
)
VIEWS_FROM = (
    ("VIRTUAL", "This Splat", "Needs nothing but the splat: views of it are chosen and drawn"),
    ("CAMERAS", "Blender Cameras", "What cameras of this scene see, where you put them"),
    ("PHOTOS", "Photos", "The cameras of the photos that the splat was made from: COLMAP, transforms.json or LLFF"),
)
MASKS_FROM = (
    ("BUILTIN", "Built In", "The shape and the colors of the splat itself; needs nothing else"),
    ("SAM", "Segment Anything", "Meta's model finds them in the photos or views; needs its file of weights, and time"),
    ("FILES", "Files", "A folder with a file for each photo or camera: label maps, SAGA's .pt, .npz or .json"),
)
LEVELS = (
    ("COARSE", "Objects", "Whole objects"),
    ("MIDDLE", "Middle", "Between things and their smallest parts"),
    ("FINE", "Parts", "The smallest parts"),
)
"""What a click means where a model knows levels, coarsest first; the middle one is left out where it knows two."""
SELECT_BY = (
    ("AUTO", "Automatic", "By the segments where they hold the click, else by features"),
    ("SEGMENTS", "Segments", "By the segments on which the views agree: sharp borders"),
    ("SAGA", "Features", "By similarity of learned features: also what no segment holds, such as all leaves"),
    ("INSTANT", "Instant", "By what Segment Anything sees in this view; nothing is trained, its weights are needed"),
)
_PATH = {"PATH_SUPPORTS_BLEND_RELATIVE"}
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
DRAWINGS = (
    ("SPLATS", "Splats", "Real Gaussians, sorted by depth"),
    ("POINTS", "Points", "A small square for each: fast on any machine"),
    ("BLENDER", "Blender", "As Blender draws point clouds itself"),
)


def _drawing_changed(self: bpy.types.PropertyGroup, context: bpy.types.Context) -> None:
    """Blender's own points are put away (as a box) while we draw."""
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
    """A thing that was found in a splat, or a part of one."""

    name: StringProperty(name="Name", update=_segment_renamed)
    node: IntProperty(description="Its number in saga:cluster")
    parent: IntProperty(description="The thing it is a part of, -1: none")
    level: IntProperty(description="0 for things, 1 for their parts, and so on")
    count: IntProperty(description="Gaussians")
    size: FloatProperty(description="Scene units")
    hidden: BoolProperty()
    renamed: BoolProperty(description="Whether the name is the user's")


class SplatRecord(bpy.types.PropertyGroup):
    """`Object.saga`: where a splat came from and which trained model its `saga:id`s refer to."""

    fingerprint: StringProperty(name="Fingerprint", description="Of the cloud that saga:id refers to")
    count: IntProperty(name="Gaussians", description="Number of Gaussians of the cloud that saga:id refers to")
    applied: FloatVectorProperty(
        description="What Apply Transform did to the cloud that saga:id refers to, row by row",
        size=16,
        default=_IDENTITY,
    )
    source: StringProperty(name="Source", description="File it was imported from", subtype="FILE_PATH")
    axes: EnumProperty(name="Axes", items=AXES)
    baked: FloatVectorProperty(
        description="What Apply Transform did to the points since the import, row by row", size=16, default=_IDENTITY
    )
    model_file: StringProperty(
        name="Model",
        description="The trained model; empty before training",
        subtype="FILE_PATH",
        options={"PATH_SUPPORTS_BLEND_RELATIVE"},
    )
    levels: IntProperty(description="Of granularity that the trained model knows; 0: any scale")
    segments: CollectionProperty(type=SegmentRecord, description="What Segment Scene found")
    segment: IntProperty(name="Segment", description="The row of the list that is chosen")


class PromptRecord(bpy.types.PropertyGroup):
    """One click or box of the present selection, with the view it was made in."""

    positive: BoolProperty(default=True)
    box: BoolProperty(description="Two corners instead of a click")
    corners: FloatVectorProperty(size=4, description="Region pixels from the bottom left: x, y, x, y")
    view: FloatVectorProperty(size=16, description="World to camera, row by row")
    projection: FloatVectorProperty(size=16, description="Camera to clip space, row by row")
    width: IntProperty(description="Of the region, pixels")
    height: IntProperty(description="Of the region, pixels")


class SceneSettings(SamChoices, bpy.types.PropertyGroup):
    """`Scene.saga`: what the sidebar offers."""

    views_from: EnumProperty(name="Views", description="What the splat is looked at from", items=VIEWS_FROM)
    cameras: PointerProperty(
        name="Cameras",
        description="Only the cameras of this collection; empty: all of the scene",
        type=bpy.types.Collection,
    )
    frame_step: IntProperty(
        name="Every Nth Frame",
        description="Look through the cameras at every so many frames of the animation; 0: only now",
        min=0,
        soft_max=100,
    )
    photos: StringProperty(
        name="Folder", description="Folder of the photos and their cameras", subtype="DIR_PATH", options=_PATH
    )
    masks_from: EnumProperty(name="Masks", description="What tells things apart in the views", items=MASKS_FROM)
    masks_folder: StringProperty(
        name="Folder",
        description="Mask files, named like the photos or the cameras; Segment Anything keeps its own here",
        subtype="DIR_PATH",
        options=_PATH,
    )
    method: EnumProperty(name="Method", description="What is learned", items=METHODS)
    recipe: EnumProperty(name="Recipe", description="How features are learned", items=RECIPES)
    steps: IntProperty(
        name="Steps (0: Auto)", description="Training steps; 0: the default of the recipe", min=0, soft_max=10000
    )
    views: IntProperty(
        name="Most Views",
        description="Largest number of views; 0: 40 of the splat, all cameras and photos",
        min=0,
        soft_max=200,
    )
    show_sources: BoolProperty(description="Whether the panel Train shows its settings", default=True)
    show_trained: BoolProperty(description="Whether the panel Train shows what was measured")
    scale_auto: BoolProperty(
        name="Auto", description="Choose the size from the first click", default=True, update=_selection_changed
    )
    scale: FloatProperty(
        name="Scale",
        description="How large a thing is meant: 0 small parts, 1 the largest things",
        min=0.0,
        max=1.0,
        default=0.5,
        update=_selection_changed,
    )
    level: EnumProperty(name="Level", description="How much a click takes", items=LEVELS, update=_selection_changed)
    size_units: FloatProperty(description="The scale of the last selection as a size in scene units")
    threshold_auto: BoolProperty(
        name="Auto", description="Choose the threshold from the click", default=True, update=_selection_changed
    )
    threshold: FloatProperty(
        name="Threshold",
        description="Higher: only what is very similar to the click",
        min=0.0,
        max=1.0,
        default=0.75,
        update=_selection_changed,
    )
    select_by: EnumProperty(
        name="By", description="What decides what belongs together", items=SELECT_BY, update=_selection_changed
    )
    snap: BoolProperty(
        name="Snap",
        description="Replace a selection by features with the segment that is much like it",
        default=True,
        update=_selection_changed,
    )
    drop_floaters: BoolProperty(
        name="No Floaters",
        description="Leave out specks away from the rest of the selection",
        update=_selection_changed,
    )
    only_connected: BoolProperty(
        name="Connected",
        description="Only the pieces that were clicked, nothing apart from them",
        update=_selection_changed,
    )
    fill_holes: BoolProperty(
        name="Fill Holes", description="Take in small gaps that the selection surrounds", update=_selection_changed
    )
    only_visible: BoolProperty(
        name="Visible Only",
        description="Only what was to be seen where the clicks were made",
        update=_selection_changed,
    )
    text: StringProperty(name="Text", description="What to look for: red chair")
    words: StringProperty(
        name="Words", description="Names to choose from, with commas between them: chair, table, lamp"
    )
    recolor_source: StringProperty(name="It Is", description="What the selection looks like: red box")
    recolor_text: StringProperty(name="Make It", description="What the selection shall look like: blue box")
    recolor_strength: FloatProperty(
        name="Strength",
        description="How far the colors go: 0 as they are, 1 all the way",
        min=0.0,
        max=1.0,
        default=1.0,
        update=_strength_changed,
    )
    prompts: CollectionProperty(type=PromptRecord, description="Clicks and boxes of the present selection")
    prompts_state: StringProperty(description="What the objects were when the prompts were answered")
    mode: EnumProperty(name="Mode", description="What a click does to the selection", items=MODES)
    drawing: EnumProperty(
        name="Draw As",
        description="How splats are drawn in the viewport",
        items=DRAWINGS,
        default="BLENDER" if BLENDER_DRAWS else "SPLATS",
        update=_drawing_changed,
    )
    view_mode: EnumProperty(name="Show", description="What the colors of the splats say", items=VIEW_MODES)
    density: FloatProperty(
        name="Density",
        description="Share of the splats that is drawn; what is selected does not change",
        min=0.01,
        max=1.0,
        default=1.0,
        subtype="FACTOR",
    )
    show_selection: BoolProperty(
        name="Highlight Selection", description="Color what is selected, in every view", default=True
    )


CLASSES = (SegmentRecord, SplatRecord, PromptRecord, SceneSettings)


def attach() -> None:
    """Give objects and scenes their `saga` record (after the classes are registered)."""
    bpy.types.Object.saga = PointerProperty(type=SplatRecord)
    bpy.types.Scene.saga = PointerProperty(type=SceneSettings)


def detach() -> None:
    """Undo `attach` (before the classes are unregistered)."""
    del bpy.types.Scene.saga
    del bpy.types.Object.saga
