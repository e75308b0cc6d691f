"""The model of a scene: segments from the masks and features from the training. Both answer clicks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import SelectOptions

from ..methods.click_gaussian.model import LevelModel
from ..methods.saga.model import DEFAULT_THRESHOLD, AffinityModel, Answer
from ..rasterizer.contributions import SHOWN_ALPHA, Contributions
from ..segments.lookup import MIN_WEIGHT_SHARE, SegmentChoice, choose, default_choice, snap_to_segment
from ..segments.segments import Segments

METHODS = ("auto", "segments", "saga", "click-gaussian")


@dataclass(frozen=True, eq=False)
class SceneModel:
    """The segments of a scene and, after a training, its features.

    Attributes:
        segments: segments of N Gaussians.
        quantiles: [Q] float32, sizes in scene units at evenly spaced scales 0..1 (segments.scale_table).
        affinity: features of SAGA, None without a training by this method.
        levels: features and clusters of Click-Gaussian, None without a training by this method.
    """

    segments: Segments
    quantiles: np.ndarray
    affinity: AffinityModel | None = None
    levels: LevelModel | None = None

    @property
    def granularity(self) -> int:
        """Number of levels of the scale; 0: the scale is continuous."""
        return len(self.levels.levels) if self.levels else 0

    @property
    def count(self) -> int:
        """N, the number of Gaussians."""
        return self.segments.count

    @property
    def steps(self) -> int:
        """Optimizer steps of the features, 0 without features."""
        trained = self.affinity or self.levels
        return trained.steps if trained else 0

    def size_of(self, scale: float) -> float:
        """The size of a scale 0..1, scene units."""
        return float(np.interp(scale, np.linspace(0, 1, len(self.quantiles)), self.quantiles))

    def scale_of(self, size: float) -> float:
        """The scale 0..1 of a size in scene units."""
        return float(np.interp(size, self.quantiles, np.linspace(0, 1, len(self.quantiles))))

    def describe(self, rows: Contributions) -> np.ndarray:
        """Vectors [P,D] for the comparison of pixels: blended features, or without features the segments of a pixel."""
        trained = self.affinity or self.levels
        return rows.blend(trained.features) if trained else self.segments.weight_shares(rows)

    def trained_features(self) -> AffinityModel | LevelModel:
        """The trained features of either method.

        Raises:
            UserError: if the scene has no features.
        """
        return self.levels or self.features()

    def features(self) -> AffinityModel:
        """The trained features of SAGA.

        Raises:
            UserError: if the scene has no features of SAGA.
        """
        if self.affinity is None:
            fix = "Wait for the end of the training, or train with the method saga"
            raise UserError("This scene has no trained features", fix=fix, code=ErrorCode.NO_MODEL)
        return self.affinity

    def select(self, rows: Contributions, positive: np.ndarray, options: SelectOptions | None = None) -> Answer:
        """Select the Gaussians of some clicks.

        Args:
            rows: contribution rows of the P clicked pixels, with the ids of this model.
            positive: [P] bool, False for "not this".
            options: method, scale, threshold, snapping, similarities.

        Raises:
            UserError: for an unknown method, or a method whose features the scene does not have.
        """
        options, positive = options or SelectOptions(), np.asarray(positive, bool)
        if options.method not in METHODS:
            raise UserError(
                f"There is no method '{options.method}'", fix=f"Use one of {METHODS}", code=ErrorCode.BAD_SETTINGS
            )
        visible = rows.alphas() >= SHOWN_ALPHA
        if not (visible & positive).any():
            note = "Nothing is under the click" if positive.any() else "There are only negative clicks"
            return self._answer(np.zeros(self.count, bool), options, self._requested_size(options), note)
        rows, positive = rows.take(visible), positive[visible]
        if options.method == "click-gaussian" or (options.method == "auto" and self.levels is not None):
            answer = self._by_levels(rows, positive, options)
            if answer.mask.any() or options.method != "auto" or not positive.all():
                return answer
        size = None if options.scale < 0 else self.size_of(options.scale)
        choice = choose(self.segments, rows, positive, size)
        if options.method == "auto" and self.affinity is not None:
            if options.threshold >= 0:  # segments have no threshold, so it applies to the similarity
                return self._by_features(rows, positive, replace(options, snap=False))
            if choice.missed:
                return self._by_features(rows, positive, options)
        if options.method == "saga":
            return self._by_features(rows, positive, options)
        return self._by_segments(rows, positive, options, choice)

    def _by_levels(self, rows: Contributions, positive: np.ndarray, options: SelectOptions) -> Answer:
        if self.levels is None:
            fix = "Train with the method click-gaussian"
            raise UserError("This scene has no clusters of Click-Gaussian", fix=fix, code=ErrorCode.NO_MODEL)
        answer = self.levels.select(rows, positive, options.wanted_scale, options.wanted_threshold)
        if options.scores:
            scores = self.levels.scores(rows, positive, self.levels.level_of(answer.scale))
            answer = replace(answer, scores=scores)
        return replace(answer, mask=snap_to_segment(self.segments, answer.mask)) if options.snap else answer

    def _by_segments(
        self, rows: Contributions, positive: np.ndarray, options: SelectOptions, choice: SegmentChoice
    ) -> Answer:
        mask = choice.mask(self.segments)
        note = _selection_note(mask, choice.missed, int(np.count_nonzero(positive)))
        size = float(self.segments.scales[choice.added].max()) if choice.added else self._requested_size(options)
        answer = self._answer(mask, options, size, note)
        if options.scores and self.affinity is not None:
            return replace(
                answer, scores=self.affinity.select(rows, positive, answer.scale, options.wanted_threshold).scores
            )
        return answer

    def _by_features(self, rows: Contributions, positive: np.ndarray, options: SelectOptions) -> Answer:
        scale = self._scale_of_click(rows, positive) if options.scale < 0 else options.scale
        answer = self.features().select(rows, positive, scale, options.wanted_threshold)
        return replace(answer, mask=snap_to_segment(self.segments, answer.mask)) if options.snap else answer

    def _scale_of_click(self, rows: Contributions, positive: np.ndarray) -> float | None:
        """The scale of the most prominent segment at the first positive click; None if no segment is there."""
        candidates = np.flatnonzero(self.segments.weight_shares(rows.take(positive))[0] > MIN_WEIGHT_SHARE)
        return (
            self.scale_of(float(self.segments.scales[default_choice(self.segments, candidates)]))
            if len(candidates)
            else None
        )

    def _requested_size(self, options: SelectOptions) -> float:
        """The size of the given scale, else of the largest scale. It is the size of an answer without segments."""
        return self.size_of(1.0 if options.scale < 0 else options.scale)

    def _answer(self, mask: np.ndarray, options: SelectOptions, size: float, note: str) -> Answer:
        threshold = DEFAULT_THRESHOLD if options.threshold < 0 else options.threshold
        scale = self.scale_of(size) if options.scale < 0 else options.scale
        return Answer(mask, mask.astype(np.float32), scale, size, threshold, note)


def _selection_note(mask: np.ndarray, missed: int, clicked: int) -> str:
    """The reason why segments select nothing, or not all clicked pixels; "" if they select all of them."""
    if mask.any():
        return "Some clicked pixels are in no mask and were left out" if missed else ""
    if missed < clicked:
        return "The negative clicks remove the whole selection"
    return "No mask covers the clicked pixels; train features, or use other masks"
