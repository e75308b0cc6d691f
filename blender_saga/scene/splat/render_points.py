"""Still renders (EEVEE, Cycles) of splats in Blender 5.2, as translucent points, with a note to the user."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ...gaussians.sh import C0
from ..state.properties import BLENDER_DRAWS
from ..state.status import status
from . import attributes

MATERIAL = "Splat Points"
_RADIUS = 1.2  # standard deviations; points of this radius close a surface of typical Gaussians
_FAINT = 0.05  # opacity below which points are not rendered


def prepare(obj: bpy.types.Object, scales: np.ndarray, opacities: np.ndarray) -> None:
    """Add the data for renders to a new splat object: the `radius` of each point and the shared material.

    Args:
        obj: the point cloud object.
        scales: [N,3] standard deviations in scene units.
        opacities: [N], 0 to 1.
    """
    smallest = np.maximum(scales.min(axis=1), 1e-20)
    radius = _RADIUS * np.sqrt(
        scales.prod(axis=1) / smallest
    )  # of a circle with the area of the Gaussian's largest side
    attributes.write(obj.data, "radius", "FLOAT", np.where(opacities < _FAINT, 0, radius))
    obj.data.materials.append(_material())


@persistent
def _say(scene: bpy.types.Scene, *_: object) -> None:
    """Show a note in the sidebar when a render starts, so that the points do not look like an error."""
    if any(obj.type == "POINTCLOUD" and obj.saga.fingerprint for obj in scene.objects):
        status.tell("Blender 5.2 renders splats as colored points; Blender 5.3 renders them as splats")


def start() -> None:
    """Show the note for each render, if Blender does not render splats itself."""
    if not BLENDER_DRAWS:
        bpy.app.handlers.render_init.append(_say)


def stop() -> None:
    """Undo `start`."""
    if _say in bpy.app.handlers.render_init:
        bpy.app.handlers.render_init.remove(_say)


def _material() -> bpy.types.Material:
    """The shared material of all splats; the user's changes to it are kept."""
    found = bpy.data.materials.get(MATERIAL)
    if found is not None and found.library is None:
        return found
    material = bpy.data.materials.new(MATERIAL)
    tree = material.node_tree
    tree.nodes.clear()
    base = _node(tree, "ShaderNodeAttribute", attribute_name="radiance:base")
    color = _node(tree, "ShaderNodeVectorMath", operation="MULTIPLY_ADD")
    color.inputs[1].default_value, color.inputs[2].default_value = (C0,) * 3, (0.5,) * 3
    clipped = _node(tree, "ShaderNodeVectorMath", operation="MAXIMUM")
    linear = _node(tree, "ShaderNodeGamma")
    linear.inputs["Gamma"].default_value = 2.2  # the coefficients are display colors
    emission, clear = _node(tree, "ShaderNodeEmission"), _node(tree, "ShaderNodeBsdfTransparent")
    mix, output = _node(tree, "ShaderNodeMixShader"), _node(tree, "ShaderNodeOutputMaterial")
    for source, target in (
        (base.outputs["Vector"], color.inputs[0]),
        (color.outputs[0], clipped.inputs[0]),
        (clipped.outputs[0], linear.inputs["Color"]),
        (linear.outputs[0], emission.inputs["Color"]),
        (base.outputs["Alpha"], mix.inputs["Fac"]),
        (clear.outputs[0], mix.inputs[1]),
        (emission.outputs[0], mix.inputs[2]),
        (mix.outputs[0], output.inputs["Surface"]),
    ):
        tree.links.new(source, target)
    for i, node in enumerate(tree.nodes):
        node.location = (200 * i, 0)
    return material


def _node(tree: bpy.types.NodeTree, kind: str, **settings: object) -> bpy.types.Node:
    node = tree.nodes.new(kind)
    for name, value in settings.items():
        setattr(node, name, value)
    return node
