"""What instant select looks at: pictures, and which Gaussians make their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from blender_saga.gaussians.cloud import GaussianCloud
from blender_saga.gaussians.sh import colours
from blender_saga.gaussians.view import View

from ...query import Actors
from ...raster import Picture, contributions_of, draw
from ...rasteriser import Rasteriser
from ...rows import Rows


class Stage(Protocol):
    """A scene as it stands."""

    @property
    def count(self) -> int:
        """N, Gaussians."""
        ...

    def picture(self, view: View) -> Picture:
        """What a view shows."""
        ...

    def rows(self, view: View, pixels: np.ndarray) -> Rows:
        """Rows of pixels [P,2] (column, row) over the N Gaussians."""
        ...


@dataclass(frozen=True, eq=False)
class CloudStage:
    """A cloud as it is."""

    cloud: GaussianCloud
    raster: Rasteriser

    @property
    def count(self) -> int:
        """N."""
        return len(self.cloud)

    def picture(self, view: View) -> Picture:
        """See Stage."""
        return self.raster.render(self.cloud, view)

    def rows(self, view: View, pixels: np.ndarray) -> Rows:
        """See Stage."""
        return self.raster.contributions(self.cloud, view, pixels)


@dataclass(frozen=True, eq=False)
class ActorStage:
    """The objects of a query where they stand; N counts the Gaussians of the trained cloud."""

    actors: Actors

    @property
    def count(self) -> int:
        """N."""
        return len(self.actors.cloud)

    def picture(self, view: View) -> Picture:
        """See Stage; colours are those that each object shows from where the view stands towards it."""
        projected = self.actors.projected(view)
        rgb = np.zeros((len(self.actors.all_ids), 3), np.float32)
        begin = 0
        for index, ids in enumerate(self.actors.ids):
            places = projected.ids[(projected.ids >= begin) & (projected.ids < begin + len(ids))]
            own = self.actors.own[index]
            seen = self.actors.cloud.take(ids[places - begin]) if own is None else own.take(places - begin)
            eye = view.of_object(self.actors.objects[index].matrix).camera_position
            rgb[places] = colours(seen, eye)
            begin += len(ids)
        return draw(projected, view, rgb[projected.ids])

    def rows(self, view: View, pixels: np.ndarray) -> Rows:
        """See Stage."""
        rows = contributions_of(self.actors.projected(view, pixels), view, pixels)
        return Rows(rows.offsets, self.actors.all_ids[rows.ids], rows.weights)
