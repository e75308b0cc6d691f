"""What a still render (EEVEE, Cycles) shows of a splat in Blender 5.2: half transparent points; it says so."""

from __future__ import annotations

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ...gaussians.sh import C0
from ..state.properties import BLENDER_DRAWS
from ..state.session import session
from . import attributes

MATERIAL = "Splat Points"
_RADIUS = 1.2  # standard deviations: points of that radius close a surface whose Gaussians overlap as usual
_FAINT = 0.05  # opacity below which a point is not rendered at all


def prepare(obj: bpy.types.Object, scales: np.ndarray, opacities: np.ndarray) -> None:
    """Give a new splat object what a render needs: `radius` of each point and the shared material.

    Args:
        obj: the point cloud object.
        scales: [N,3] standard deviations, scene units.
        opacities: [N].
    """
    smallest = np.maximum(scales.min(axis=1), 1e-20)
    radius = _RADIUS * np.sqrt(scales.prod(axis=1) / smallest)  # of the circle like the Gaussian's broad side
    attributes.write(obj.data, "radius", "FLOAT", np.where(opacities < _FAINT, 0, radius))
    obj.data.materials.append(_material())


@persistent
def _say(scene: bpy.types.Scene, *_: object) -> None:
    """A render begins. The sidebar says what it shows, so that nobody looks for a mistake."""
    if any(obj.type == "POINTCLOUD" and obj.saga.fingerprint for obj in scene.objects):
        session.tell("A render shows splats as colored points; Blender 5.3 renders them as they are")


def start() -> None:
    """Say it from now on, where Blender does not render splats itself."""
    if not BLENDER_DRAWS:
        bpy.app.handlers.render_init.append(_say)


def stop() -> None:
    """Undo `start`."""
    if _say in bpy.app.handlers.render_init:
        bpy.app.handlers.render_init.remove(_say)


def _material() -> bpy.types.Material:
    """The one material of all splats; a user's changes to it stay."""
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
