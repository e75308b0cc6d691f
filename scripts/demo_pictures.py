"""The pictures of the demo: the rasterizer of the backend draws the splats in Blender."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blender_saga.gaussians.cloud import GaussianCloud, concatenate
from blender_saga.gaussians.view import View
from demo_blender import Answer
from demo_scene import Aim, framed
from saga_backend.rasterizer.cpu import render

_BACKGROUND = np.array([0.16, 0.17, 0.19], np.float32)
_HIGHLIGHT = np.array([1.0, 0.55, 0.05], np.float32)  # Blender's selection orange
_HEAT = np.array([[0.05, 0.03, 0.25], [0.35, 0.05, 0.45], [0.80, 0.20, 0.30], [0.98, 0.60, 0.15], [1.0, 0.97, 0.65]])
_SH0 = 0.28209479177387814  # the constant spherical harmonic: color = 0.5 + _SH0 * coefficient
_CAPTIONS = {
    "before": "1  The splat and the click",
    "similarity": "2  Similarity to the click",
    "selection": "3  The selection",
    "after_split": "4  Split off and moved",
}


class Pictures:
    """Draws the pictures in the view of the click.

    Attributes:
        written: paths of the pictures, the overview last.
    """

    def __init__(self, out: Path, aim: Aim) -> None:
        self._out, self._aim = out, aim
        self._images: dict[str, Image.Image] = {}
        self.written: list[Path] = []

    def before(self, clouds: list[GaussianCloud]) -> None:
        """Draw the imported splat with a mark at the click."""
        self._save("before", self._mark(self._draw(concatenate(clouds))))

    def selected(self, clouds: list[GaussianCloud], answer: Answer) -> None:
        """Draw the similarity as a heat map, and the selection in orange with the rest in gray."""
        (cloud,) = clouds
        self._save("similarity", self._mark(self._draw(_paint(cloud, _heat(answer.similarity)))))
        self._save("selection", self._draw(_highlight_selection(cloud, answer.mask)))

    def after(self, clouds: list[GaussianCloud]) -> None:
        """Draw all objects after the move; then the overview of all pictures."""
        self._save("after_split", self._draw(concatenate(clouds), framed(self._aim.view, clouds)))
        self._save_overview()

    def _draw(self, cloud: GaussianCloud, view: View | None = None) -> np.ndarray:
        picture = render(cloud, view or self._aim.view)
        return picture.rgb + (1 - picture.alpha[..., None]) * _BACKGROUND

    def _mark(self, rgb: np.ndarray) -> np.ndarray:
        """Draw a ring around the clicked pixel."""
        image = _image(rgb)
        draw, x, y = ImageDraw.Draw(image), self._aim.x, self._aim.y
        for radius, color, width in ((13, "black", 5), (12, "white", 3), (2, "white", 2)):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=width)
        return np.asarray(image, np.float32) / 255

    def _save(self, name: str, rgb: np.ndarray) -> None:
        self._images[name] = _image(rgb)
        self._write(name, self._images[name])

    def _write(self, name: str, image: Image.Image) -> None:
        path = self._out / f"{name}.png"
        image.save(path)
        self.written.append(path)

    def _save_overview(self) -> None:
        """Write a sheet of two by two pictures at two thirds of the size, with captions."""
        size = tuple(2 * side // 3 for side in self._images["before"].size)
        gap, caption = 12, 34
        sheet = Image.new("RGB", (2 * size[0] + 3 * gap, 2 * (size[1] + caption) + gap), (30, 31, 34))
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=19)
        for index, (name, text) in enumerate(_CAPTIONS.items()):
            corner = (gap + index % 2 * (size[0] + gap), gap + index // 2 * (size[1] + caption))
            sheet.paste(self._images[name].resize(size, Image.Resampling.LANCZOS), corner)
            draw.text((corner[0] + 4, corner[1] + size[1] + 5), text, fill=(225, 225, 225), font=font)
        self._write("overview", sheet)


def _image(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8))


def _paint(cloud: GaussianCloud, colors: np.ndarray) -> GaussianCloud:
    """The cloud with colors [N,3] 0..1 that are the same in all directions."""
    return replace(cloud, sh=((colors.astype(np.float32) - 0.5) / _SH0)[:, None])


def _highlight_selection(cloud: GaussianCloud, mask: np.ndarray) -> GaussianCloud:
    """The cloud with the selected Gaussians in orange and the rest in dim gray, with the original brightness."""
    gray = np.clip(0.5 + _SH0 * cloud.sh[:, 0], 0, 1).mean(axis=1, keepdims=True)
    return _paint(cloud, np.where(mask[:, None], (0.45 + 0.75 * gray) * _HIGHLIGHT, 0.5 * gray))


def _heat(similarity: np.ndarray) -> np.ndarray:
    """[N,3] colors of similarities: dark violet at 0 and below, light yellow at 1."""
    stops = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(similarity, stops, channel) for channel in _HEAT.T], axis=1)
