"""Splats as they are drawn: the same picture as the backend's rasterizer, sorted and colored by plain definitions."""

from __future__ import annotations

import bpy
import numpy as np
import pytest
from mathutils import Matrix

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors as sh_colors
from blender_saga.gaussians.transforms import transform_cloud
from blender_saga.gaussians.view import View, look_at
from saga_backend.rasterizer.cpu import render
from tests.blender.clouds import random_cloud
from tests.blender.support import addon

WIDTH, HEIGHT, FOCAL = 200, 150, 180.0
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenCV's camera axes to OpenGL's


@pytest.fixture(scope="module")
def gpu() -> object:
    """Blender's gpu module with a context."""
    import gpu

    try:
        gpu.init()
    except SystemError as reason:
        pytest.skip(f"Blender finds no way to draw without a window here: {reason}")
    return gpu


def splat(name: str, cloud: GaussianCloud) -> bpy.types.Object:
    points = addon("scene.splat.point_cloud")
    own = addon("gaussians.cloud").GaussianCloud(cloud.means, cloud.quats, cloud.scales, cloud.opacities, cloud.sh)
    obj = points.create_object(name, own, "BLENDER")
    bpy.context.collection.objects.link(obj)
    bpy.context.view_layer.update()
    return obj


def small_cloud(n: int, degree: int, seed: int) -> GaussianCloud:
    cloud = random_cloud(n, degree, seed)
    return GaussianCloud(cloud.means, cloud.quats, cloud.scales * 0.5, cloud.opacities, cloud.sh)


def eye(orthographic: bool) -> View:
    viewmat = look_at(np.array([1.0, -7.0, 2.0]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    focal = 20.0 if orthographic else FOCAL
    K = np.array([[focal, 0, 0.45 * WIDTH], [0, focal, 0.55 * HEIGHT], [0, 0, 1]])  # the lens is shifted
    return View(viewmat, K, WIDTH, HEIGHT, orthographic=orthographic)


def camera(view: View) -> object:
    """The same view as Blender's matrices, written down from their definition."""
    near, far = 0.01, 100.0
    matrix = np.zeros((4, 4))
    matrix[0, 0], matrix[1, 1] = 2 * view.K[0, 0] / WIDTH, 2 * view.K[1, 1] / HEIGHT
    across, up = 2 * view.K[0, 2] / WIDTH - 1, 1 - 2 * view.K[1, 2] / HEIGHT
    if view.orthographic:
        matrix[0, 3], matrix[1, 3], matrix[3, 3] = across, up, 1
        matrix[2, 2], matrix[2, 3] = -2 / (far - near), -(far + near) / (far - near)
    else:
        matrix[0, 2], matrix[1, 2], matrix[3, 2] = -across, -up, -1
        matrix[2, 2], matrix[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
    return addon("viewport.splat_draw").Camera(_FLIP @ view.viewmat, matrix, (WIDTH, HEIGHT))


def picture(gpu: object, objects: list[bpy.types.Object], view: View, **style: object) -> np.ndarray:
    """[H,W,4] what is drawn on nothing."""
    draw = addon("viewport.splat_draw")
    target = gpu.types.GPUOffScreen(WIDTH, HEIGHT, format="RGBA16F")
    with target.bind():
        framebuffer = gpu.state.active_framebuffer_get()
        framebuffer.clear(color=(0, 0, 0, 0), depth=1.0)
        painter = draw.Painter()
        painter.draw("test", objects, camera(view), draw.Style(**style), wait=True)
        buffer = framebuffer.read_color(0, 0, WIDTH, HEIGHT, 4, 0, "FLOAT")
    buffer.dimensions = WIDTH * HEIGHT * 4
    target.free()
    return np.array(buffer, np.float32).reshape(HEIGHT, WIDTH, 4)[::-1]


def reference(clouds: list[GaussianCloud], view: View) -> np.ndarray:
    from blender_saga.gaussians.cloud import concatenate

    drawn = render(concatenate(clouds), view)
    return np.concatenate([drawn.rgb, drawn.alpha[..., None]], axis=-1)


# Without perspective the rays are parallel for us; the rasterizer shades them from the camera's place all the same.
@pytest.mark.parametrize(("orthographic", "degree"), [(False, 0), (False, 3), (True, 0)])
def test_same_picture_as_the_rasterizer(gpu: object, orthographic: bool, degree: int) -> None:
    cloud, view = small_cloud(400, degree, 1), eye(orthographic)
    difference = np.abs(picture(gpu, [splat("s", cloud)], view) - reference([cloud], view))
    assert difference.mean() < 1e-3 and np.quantile(difference, 0.99) < 0.02


def test_moved_objects_are_sorted_together(gpu: object) -> None:
    matrix = Matrix.Translation((0.5, 0.3, 0)) @ Matrix.Rotation(0.7, 4, "Y") @ Matrix.Diagonal((1.5, 0.7, 1.1, 1))
    one, two, view = small_cloud(200, 1, 2), small_cloud(200, 1, 3), eye(False)
    objects = [splat("one", one), splat("two", two)]
    objects[1].matrix_world = matrix
    bpy.context.view_layer.update()
    wanted = reference([one, transform_cloud(two, np.array(matrix, np.float64))], view)
    assert np.abs(picture(gpu, objects, view) - wanted).mean() < 1e-3


def test_what_is_selected_is_highlighted_in_every_mode(gpu: object) -> None:
    obj, view = splat("s", small_cloud(300, 0, 4)), eye(False)
    points = addon("scene.splat.point_cloud")
    points.set_similarity(obj, np.linspace(0, 1, 300, dtype=np.float32))
    for mode in ("COLOR", "SIMILARITY", "CLUSTERS", "PCA"):
        points.set_selection(obj, np.zeros(300, bool))
        plain = picture(gpu, [obj], view, mode=mode)
        points.set_selection(obj, np.ones(300, bool))
        bpy.context.view_layer.update()
        marked = picture(gpu, [obj], view, mode=mode)
        assert np.abs(marked - plain).max() > 0.1, mode
        np.testing.assert_allclose(picture(gpu, [obj], view, mode=mode, mark=False), plain, atol=1e-3)


def test_points_and_density(gpu: object) -> None:
    obj, view = splat("s", small_cloud(2000, 0, 5)), eye(False)
    dots = picture(gpu, [obj], view, points=True)
    assert set(np.unique(dots[..., 3])) == {0.0, 1.0}
    order = addon("viewport.splat_order")
    block = addon("scene.splat.draw_data").Blocks().of(obj)
    view_matrix = (_FLIP @ view.viewmat)[None]
    half = order.sort(order.SortRequest((block,), view_matrix, False, 0.5, "")).order
    assert len(set(half)) == len(half) and 850 < len(half) < 1150


def test_farthest_first_by_plain_sorting() -> None:
    obj, view = splat("s", small_cloud(5000, 0, 6)), _FLIP @ eye(False).viewmat
    order = addon("viewport.splat_order")
    block = addon("scene.splat.draw_data").Blocks().of(obj)
    found = order.sort(order.SortRequest((block,), view[None], False, 1.0, "")).order
    depth = block.means @ view[2, :3] + view[2, 3]
    assert sorted(found) == list(np.flatnonzero(depth < 0))
    assert np.all(np.diff(depth[found]) > -2e-3)  # 16 bits of a scene ten units deep


@pytest.mark.parametrize("degree", range(5))
def test_colors_are_those_of_the_cloud(degree: int) -> None:
    cloud = random_cloud(300, degree, 7)
    block = addon("scene.splat.draw_data").Blocks().of(splat("s", cloud))
    place = np.array([2.0, -5.0, 1.0])
    found = addon("viewport.splat_colors").colors(block, "COLOR", np.array([*place, 1.0]))
    np.testing.assert_allclose(found, sh_colors(cloud, place), atol=5e-3)  # kept with 11 bits


def test_data_is_read_again_only_when_it_has_changed() -> None:
    obj = splat("s", small_cloud(50, 0, 8))
    blocks, points = addon("scene.splat.draw_data").Blocks(), addon("scene.splat.point_cloud")
    block = blocks.of(obj)
    geometry, marking = block.geometry, block.marking
    assert blocks.of(obj) is block and (block.geometry, block.marking) == (geometry, marking)
    points.set_selection(obj, np.ones(50, bool))
    bpy.context.view_layer.update()
    assert blocks.of(obj) is block and block.marking != marking and block.selected.all()
    obj.data.attributes["position"].data[7].vector = (1, 2, 3)
    obj.data.update_tag()
    bpy.context.view_layer.update()
    again = blocks.of(obj)
    assert again.geometry != geometry and tuple(again.means[7]) == (1, 2, 3)


def test_undo_is_seen() -> None:
    splat("s", small_cloud(50, 0, 9))
    blocks, points = addon("scene.splat.draw_data").Blocks(), addon("scene.splat.point_cloud")
    bpy.ops.ed.undo_push(message="before")
    points.set_selection(bpy.data.objects["s"], np.ones(50, bool))
    bpy.ops.ed.undo_push(message="selected")
    assert blocks.of(bpy.data.objects["s"]).selected.all()
    bpy.ops.ed.undo()
    assert not blocks.of(bpy.data.objects["s"]).selected.any()


def test_hidden_objects_are_not_drawn() -> None:
    obj, other = splat("s", small_cloud(5, 0, 10)), splat("t", small_cloud(5, 0, 11))
    shown = addon("scene.splat.draw_data").shown
    assert shown(bpy.context.view_layer, None) == [obj, other]
    obj.hide_set(True)
    assert shown(bpy.context.view_layer, None) == [other]
    other.hide_viewport = True
    bpy.context.view_layer.update()
    assert shown(bpy.context.view_layer, None) == []


def test_an_answer_comes_from_the_thread() -> None:
    order = addon("viewport.splat_order")
    block = addon("scene.splat.draw_data").Blocks().of(splat("s", small_cloud(100, 0, 12)))
    sorter = order.Sorter()
    request = order.SortRequest((block,), (_FLIP @ eye(False).viewmat)[None], False, 1.0, "CLUSTERS")
    sorter.ask("view", request)
    with sorter._condition:
        assert sorter._condition.wait_for(lambda: sorter._answers, 60)
    assert sorter.news() and not sorter.news()
    answer = sorter.answer("view")
    np.testing.assert_array_equal(answer.order, order.sort(request).order)
    assert answer.colors.shape == (100, 3) and sorter.answer("view") is None
    sorter.stop()


def test_cluster_colors_are_told_apart() -> None:
    found = addon("viewport.splat_colors").cluster_colors(np.arange(-1, 30))
    assert len({tuple(np.round(c, 2)) for c in found}) == 31 and np.ptp(found[0]) == 0
    empty = type("Empty", (), {"__len__": lambda self: 4, "marks": {}})()
    assert np.ptp(addon("viewport.splat_colors").colors(empty, "PCA", np.zeros(4))) == 0


def test_deleted_splats_are_forgotten(gpu: object) -> None:
    draw, view = addon("viewport.splat_draw"), eye(False)
    objects = [splat(name, small_cloud(20, 0, 13)) for name in "ab"]
    painter, target = draw.Painter(), gpu.types.GPUOffScreen(WIDTH, HEIGHT, format="RGBA16F")
    with target.bind():
        painter.draw("v", objects, camera(view), draw.Style(), wait=True)
        bpy.data.pointclouds.remove(objects[0].data)
        painter.draw("v", objects[1:], camera(view), draw.Style(), wait=True)
    assert len(painter.blocks.known) == 1 and len(painter._atlases) == 1
    target.free()


@pytest.mark.parametrize("degree", [0, 1])
def test_a_change_is_shown_with_a_share_first_and_then_with_all(
    gpu: object, degree: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, seen_from, order = addon("viewport.splat_draw"), camera(eye(False)), addon("viewport.splat_order")
    monkeypatch.setattr(draw, "_BUDGET", {"software": 600, "card": 600})
    monkeypatch.setattr(draw, "_STILL", 0.0)
    obj = splat("s", small_cloud(3000, degree, 14))
    painter, target = draw.Painter(), gpu.types.GPUOffScreen(WIDTH, HEIGHT, format="RGBA16F")

    def show() -> object:
        with target.bind():
            painter.draw("v", [obj], seen_from, draw.Style(), wait=False)
        return painter._views["v"]

    def rest() -> int:
        view = show()
        while view.coarse or view.pending is not None:
            with painter.sorter._condition:
                assert painter.sorter._condition.wait_for(lambda: painter.sorter._answers or view.coarse, 60)
            painter.news()
            show()
        return len(view.answer.order)

    visible = rest()
    assert visible > 2000
    addon("scene.splat.point_cloud").set_selection(obj, np.arange(3000) < 1500)
    bpy.context.view_layer.update()
    first = show().answer
    lone = order.sort(
        order.SortRequest(first.request.blocks, first.request.views, False, first.request.density, "")
    ).order
    assert set(first.order) == set(lone) and 400 < len(lone) < 800
    assert rest() == visible
    painter.sorter.stop()
    target.free()


def test_thinning_takes_those_that_sorting_takes() -> None:
    order, block = (
        addon("viewport.splat_order"),
        addon("scene.splat.draw_data").Blocks().of(splat("s", small_cloud(4000, 0, 15))),
    )
    views = (_FLIP @ eye(False).viewmat)[None]
    whole = order.sort(order.SortRequest((block,), views, False, 1.0, ""))
    for density in (0.5, 0.1, 0.01):
        thin, lone = whole.thinned(density), order.sort(order.SortRequest((block,), views, False, density, ""))
        assert set(thin.order) == set(lone.order) and thin.request.granted_by(lone.request)
        place = {int(k): i for i, k in enumerate(whole.order)}
        assert np.all(np.diff([place[int(k)] for k in thin.order]) > 0)  # sorted as before
        assert thin.thinned(0.7) is thin and set(thin.thinned(density / 2).order) < set(thin.order)


def test_a_selection_needs_no_new_order_unless_colors_say_something_of_it() -> None:
    order, points = addon("viewport.splat_order"), addon("scene.splat.point_cloud")
    obj, blocks = splat("s", small_cloud(50, 1, 16)), addon("scene.splat.draw_data").Blocks()
    view = (_FLIP @ eye(False).viewmat)[None]

    def request(mode: str) -> object:
        block = (blocks.of(obj),)
        return order.SortRequest(
            block, view, False, 1.0, mode, addon("viewport.splat_draw")._tint(block, mode) if mode else ()
        )

    before = {mode: request(mode) for mode in ("", "COLOR", "SIMILARITY")}
    points.set_selection(obj, np.ones(50, bool))
    bpy.context.view_layer.update()
    after = {mode: request(mode) for mode in before}
    assert {mode: after[mode].granted_by(before[mode]) for mode in before} == {
        "": True,
        "COLOR": True,
        "SIMILARITY": False,
    }
    assert not after["COLOR"].granted_by(before[""]) and after[""].granted_by(before["COLOR"])


@pytest.mark.parametrize(("mode", "degree"), [("CLUSTERS", 0), ("COLOR", 0), ("COLOR", 1)])
def test_other_colors_are_drawn_though_nothing_moves(gpu: object, mode: str, degree: int) -> None:
    draw, cloud = addon("viewport.splat_draw"), addon("scene.splat.point_cloud")
    drawables, seen_from = addon("scene.splat.draw_data"), camera(eye(False))
    obj = splat("s", small_cloud(300, degree, 19))
    uid, everything = obj.data.session_uid, np.arange(300)
    cloud.set_mark(obj, "saga:cluster", "INT", np.zeros(300, np.int32))
    bpy.context.view_layer.update()
    painter, target = draw.Painter(), gpu.types.GPUOffScreen(WIDTH, HEIGHT, format="RGBA16F")

    def show() -> np.ndarray:
        """What the window comes to show, drawn again whenever something has arrived."""
        while True:
            with target.bind():
                frame = gpu.state.active_framebuffer_get()
                frame.clear(color=(0, 0, 0, 0), depth=1.0)
                painter.draw("v", [obj], seen_from, draw.Style(mode), wait=False)
                pixels = frame.read_color(0, 0, WIDTH, HEIGHT, 4, 0, "FLOAT")
            if painter.resting("v"):
                pixels.dimensions = WIDTH * HEIGHT * 4
                return np.array(pixels, np.float32)
            with painter.sorter._condition:
                waiting = painter._views["v"].pending is not None
                assert not waiting or painter.sorter._condition.wait_for(lambda: painter.sorter._answers, 60)
            painter.news()

    first = show()
    if mode == "CLUSTERS":
        cloud.set_mark(obj, "saga:cluster", "INT", np.full(300, 3, np.int32))
    else:
        drawables.tints[uid] = drawables.Tint(300, everything, np.full((300, 3), 1.5, np.float32), 1)
    bpy.context.view_layer.update()
    assert np.abs(show() - first).max() > 0.1
    if mode == "COLOR":
        drawables.tints[uid] = drawables.Tint(300, everything, np.full((300, 3), -1.5, np.float32), 2)
        assert np.abs(show() - first).max() > 0.1
        drawables.tints.clear()
        np.testing.assert_array_equal(show(), first)
    painter.sorter.stop()
    target.free()


def test_checksum_sees_every_single_change(rng: np.random.Generator) -> None:
    checksum = addon("scene.splat.draw_data").checksum
    for count in (1, 2, 3, 2041, 2042, 9000):
        values = rng.normal(size=count).astype(np.float32)
        before = checksum(values)
        assert checksum(values.copy()) == before
        for place in {0, count - 1, *rng.integers(0, count, 20)}:
            other = values.copy()
            other[place] = np.nextafter(other[place], np.float32(9))
            assert checksum(other) != before, (count, place)
        turned = values[::-1].copy()
        assert count < 3 or checksum(turned) != before


COLORS = {
    "blue": (0.1, 0.2, 0.8),
    "green": (0.1, 0.6, 0.1),
    "white": (0.9, 0.9, 0.9),
    "black": (0.02, 0.02, 0.02),
    "orange": (0.9, 0.4, 0.1),
}


@pytest.mark.parametrize("rgb", COLORS.values(), ids=COLORS)
def test_what_is_selected_is_orange_whatever_its_color(gpu: object, rgb: tuple[float, float, float]) -> None:
    cloud, view = small_cloud(600, 0, 17), eye(False)
    cloud.sh[:] = (np.array(rgb) - 0.5) / 0.28209479
    obj = splat("s", cloud)
    addon("scene.splat.point_cloud").set_selection(obj, np.arange(600) < 300)
    addon("scene.splat.point_cloud").set_hidden(obj, np.arange(600) >= 300)
    bpy.context.view_layer.update()
    alone = picture(gpu, [obj], view)
    red, green, blue, _ = alone[alone[..., 3] > 0.5].mean(axis=0)
    assert red > 1.3 * green and green > 1.3 * blue and red > 0.25, (red, green, blue)
    addon("scene.splat.point_cloud").set_hidden(obj, np.arange(600) < 300)
    bpy.context.view_layer.update()
    rest = picture(gpu, [obj], view)
    assert np.abs(rest[rest[..., 3] > 0.5].mean(axis=0)[:3] - [red, green, blue]).max() > 0.15


def test_whoever_changes_a_splat_the_viewports_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pump, drawn = addon("scene.state.timer"), []
    obj = splat("s", small_cloud(20, 0, 18))
    monkeypatch.setattr(pump, "_redraw", drawn.append)
    pump.pump()
    drawn.clear()
    pump.pump()
    assert drawn == []
    addon("scene.splat.point_cloud").set_selection(obj, np.ones(20, bool))
    bpy.context.view_layer.update()
    pump.pump()
    pump.pump()
    assert drawn == [True]  # pictures too, once
    monkeypatch.setattr(addon("scene.state.session"), "poll", lambda: True)
    pump.pump()
    assert drawn == [True, False]  # a progress: the sidebars alone
