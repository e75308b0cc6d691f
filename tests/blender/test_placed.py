"""What the viewer sees is what is exported: parents, constraints, instances, modifiers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np
import pytest

from tests.blender.clouds import random_cloud, read_inria, write_inria
from tests.blender.test_bad_input import refused
from tests.blender.test_splat_files import exported, imported

STEP, IN_FILE = (0, 10, 0), np.array([0, 0, 10])  # the same in Blender and in the file


def tree(build: Callable[[bpy.types.NodeTree, bpy.types.NodeSocket], bpy.types.NodeSocket]) -> bpy.types.NodeTree:
    """Geometry nodes that make something of a geometry."""
    nodes = bpy.data.node_groups.new("nodes", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        nodes.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    first, last = nodes.nodes.new("NodeGroupInput"), nodes.nodes.new("NodeGroupOutput")
    nodes.links.new(build(nodes, first.outputs[0]), last.inputs[0])
    return nodes


def keep_four(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    names = ("GeometryNodeInputIndex", "FunctionNodeCompare", "GeometryNodeDeleteGeometry")
    index, compare, delete = (nodes.nodes.new(name) for name in names)
    compare.data_type, compare.operation = "INT", "GREATER_EQUAL"
    compare.inputs[1].default_value = 4
    nodes.links.new(index.outputs[0], compare.inputs[0])
    nodes.links.new(compare.outputs[0], delete.inputs["Selection"])
    nodes.links.new(geometry, delete.inputs[0])
    return delete.outputs[0]


def lift(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    move = nodes.nodes.new("GeometryNodeSetPosition")
    move.inputs["Offset"].default_value = STEP
    nodes.links.new(geometry, move.inputs[0])
    return move.outputs[0]


def with_a_cube(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    cube, join = nodes.nodes.new("GeometryNodeMeshCube"), nodes.nodes.new("GeometryNodeJoinGeometry")
    for part in (geometry, cube.outputs[0]):
        nodes.links.new(part, join.inputs[0])
    return join.outputs[0]


def row_of_two(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    line, instances = nodes.nodes.new("GeometryNodeMeshLine"), nodes.nodes.new("GeometryNodeInstanceOnPoints")
    line.inputs["Count"].default_value, line.inputs["Offset"].default_value = 2, STEP
    nodes.links.new(line.outputs[0], instances.inputs["Points"])
    nodes.links.new(geometry, instances.inputs["Instance"])
    return instances.outputs[0]


def made_real(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    real = nodes.nodes.new("GeometryNodeRealizeInstances")
    nodes.links.new(row_of_two(nodes, geometry), real.inputs[0])
    return real.outputs[0]


def nothing(nodes: bpy.types.NodeTree, geometry: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    delete = nodes.nodes.new("GeometryNodeDeleteGeometry")
    nodes.links.new(geometry, delete.inputs[0])
    return delete.outputs[0]


def splat_and_means(tmp_path: Path, n: int = 20) -> tuple[bpy.types.Object, np.ndarray]:
    write_inria(tmp_path / "a.ply", random_cloud(n, 1))
    (obj,) = imported(tmp_path / "a.ply")
    return obj, read_inria(tmp_path / "a.ply")["means"]


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (keep_four, lambda means: means[:4]),
        (lift, lambda means: means + IN_FILE),
        (with_a_cube, lambda means: means),
        (row_of_two, lambda means: np.concatenate([means, means + IN_FILE])),
        (made_real, lambda means: np.concatenate([means, means + IN_FILE])),
    ],
)
def test_modifiers_are_evaluated(tmp_path: Path, build: Callable, wanted: Callable) -> None:
    obj, means = splat_and_means(tmp_path)
    obj.modifiers.new("nodes", "NODES").node_group = tree(build)
    for options in ({}, {"object": obj.name}, {"scope": "VISIBLE"}):
        np.testing.assert_allclose(exported(tmp_path / "b.ply", **options).means, wanted(means), atol=1e-5)
    np.testing.assert_array_equal(read_inria(tmp_path / "a.ply")["means"], means)


def test_modifiers_that_leave_nothing_are_named(tmp_path: Path) -> None:
    obj, _ = splat_and_means(tmp_path)
    obj.modifiers.new("nodes", "NODES").node_group = tree(nothing)
    refused(lambda: exported(tmp_path / "b.ply"), "its modifiers remove all of them")
    refused(lambda: exported(tmp_path / "b.ply", object=obj.name), "its modifiers remove all of them")


def test_a_splat_scattered_by_another_objects_nodes(tmp_path: Path) -> None:
    obj, means = splat_and_means(tmp_path)

    def scatter(nodes: bpy.types.NodeTree, _: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
        info = nodes.nodes.new("GeometryNodeObjectInfo")
        info.inputs["Object"].default_value, info.inputs["As Instance"].default_value = obj, True
        return row_of_two(nodes, info.outputs["Geometry"])

    host = bpy.data.objects.new("host", bpy.data.meshes.new("host"))
    bpy.context.collection.objects.link(host)
    host.modifiers.new("nodes", "NODES").node_group = tree(scatter)
    obj.select_set(False)
    host.select_set(True)
    bpy.context.view_layer.objects.active = host
    wanted = np.concatenate([means, means + IN_FILE])
    np.testing.assert_allclose(exported(tmp_path / "b.ply").means, wanted, atol=1e-5)


def test_parents_constraints_and_instances_count(tmp_path: Path) -> None:
    write_inria(tmp_path / "a.ply", random_cloud(20, 0))
    (obj,) = imported(tmp_path / "a.ply")
    means = read_inria(tmp_path / "a.ply")["means"]
    parent = bpy.data.objects.new("parent", None)
    bpy.context.collection.objects.link(parent)
    parent.location, parent.scale = (1, 0, 0), (2, 2, 2)
    obj.parent = parent
    constraint = obj.constraints.new("COPY_LOCATION")
    constraint.target = target = bpy.data.objects.new("target", None)
    bpy.context.collection.objects.link(target)
    target.location = (0, 0, 5)
    got = exported(tmp_path / "b.ply", object=obj.name).means
    np.testing.assert_allclose(got, 2 * means + [0, -5, 0], atol=1e-5)  # z up in Blender is -y in the file

    collection = bpy.data.collections.new("hall")
    collection.objects.link(obj)
    bpy.context.collection.objects.unlink(obj)
    obj.constraints.clear()
    obj.parent = None
    for x in (10, 20):
        empty = bpy.data.objects.new("place", None)
        empty.instance_type, empty.instance_collection = "COLLECTION", collection
        empty.location = (x, 0, 0)
        bpy.context.collection.objects.link(empty)
        empty.select_set(True)
    got = np.sort(exported(tmp_path / "c.ply").means[:, 0])
    np.testing.assert_allclose(got, np.sort(np.concatenate([means[:, 0] + 10, means[:, 0] + 20])), atol=1e-5)
