"""The scene of instant select: pictures, and the Gaussians that contribute to their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colors
from blender_saga.gaussians.view import View

from ...rasterizer.contributions import Contributions
from ...rasterizer.cpu import Picture, contributions_of, draw
from ...rasterizer.select import Rasterizer
from ..click import QueryObjects


class Stage(Protocol):
    """A scene to draw."""

    @property
    def count(self) -> int:
        """N, Gaussians."""
        ...

    def picture(self, view: View) -> Picture:
        """The picture of a view."""
        ...

    def rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """Rows of pixels [P,2] (column, row) over the N Gaussians."""
        ...


@dataclass(frozen=True, eq=False)
class CloudStage:
    """A cloud without objects."""

    cloud: GaussianCloud
    raster: Rasterizer

    @property
    def count(self) -> int:
        """N."""
        return len(self.cloud)

    def picture(self, view: View) -> Picture:
        """See Stage."""
        return self.raster.render(self.cloud, view)

    def rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """See Stage."""
        return self.raster.contributions(self.cloud, view, pixels)


@dataclass(frozen=True, eq=False)
class ObjectStage:
    """The placed objects of a query; N counts the Gaussians of the trained cloud."""

    query_objects: QueryObjects

    @property
    def count(self) -> int:
        """N."""
        return len(self.query_objects.cloud)

    def picture(self, view: View) -> Picture:
        """See Stage; every object shows its colors for its own direction to the camera."""
        projected = self.query_objects.project(view)
        rgb = np.zeros((len(self.query_objects.all_ids), 3), np.float32)
        begin = 0
        for index, ids in enumerate(self.query_objects.ids):
            points = projected.ids[(projected.ids >= begin) & (projected.ids < begin + len(ids))]
            moved = self.query_objects.moved_clouds[index]
            part = self.query_objects.cloud.take(ids[points - begin]) if moved is None else moved.take(points - begin)
            eye = view.of_object(self.query_objects.placements[index].matrix).camera_position
            rgb[points] = colors(part, eye)
            begin += len(ids)
        return draw(projected, view, rgb[projected.ids])

    def rows(self, view: View, pixels: np.ndarray) -> Contributions:
        """See Stage."""
        rows = contributions_of(self.query_objects.project(view, pixels), view, pixels)
        return Contributions(rows.offsets, self.query_objects.all_ids[rows.ids], rows.weights)
