"""Which files messages may name: files for reading, `*.saga` for writing, and nothing outside of the root."""

from __future__ import annotations

import dataclasses
import os
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

from blender_saga.errors import UserError
from blender_saga.gaussians.view import View
from blender_saga.wire.messages import (
    Click,
    FetchWeights,
    FindText,
    LoadScene,
    LookAhead,
    NameSegments,
    Part,
    Recolor,
    SamOptions,
    SelectOptions,
    Train,
    TrainSources,
    all_requests,
)
from blender_saga.wire.parts import no_gaussians
from saga_backend.serving.path_policy import Confinement

TEXTS = {
    "client", "scene", "name", "method", "recipe", "kind", "text", "words", "way", "source", "names", "masks",
}  # fmt: skip
"""Fields of text that are no path."""
VIEW = View(np.eye(4), np.eye(3), 8, 8)
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")


def reading(path: str) -> list[object]:
    return [
        LoadScene("s", no_gaussians(), model_file=path),
        Click("s", (), options=SelectOptions(weights=path)),
        LookAhead("s", VIEW, path),
        FindText("s", "t", path),
        NameSegments("s", ("w",), path),
        Recolor(no_gaussians(), "a", "b", path),
        Train("s", sources=TrainSources(cameras=path)),
        Train("s", sources=TrainSources(sam=SamOptions(path))),
    ]


def saving(path: str) -> list[object]:
    return [Train("s", path), FindText("s", "t", "", path), NameSegments("s", ("w",), "", path)]


def folders(path: str) -> list[object]:
    return [
        FetchWeights("vit_b", path),
        Train("s", sources=TrainSources(masks="files", masks_folder=path)),
        Train("s", sources=TrainSources(masks="sam", masks_folder=path)),
    ]


def every(path: str) -> list[object]:
    return reading(path) + saving(path) + folders(path)


def refusals(requests: list[object], root: Path | None = None) -> list[str]:
    """Code of each; "" where it was let through."""
    codes = []
    for request in requests:
        try:
            Confinement(root).check(request)
            codes.append("")
        except UserError as error:
            assert error.why and error.fix
            codes.append(error.code)
    return codes


def all_refused(requests: list[object], root: Path | None = None) -> bool:
    return set(refusals(requests, root)) == {"bad_path"}


def test_no_field_of_text_is_forgotten() -> None:
    """Whoever adds a field of text to a request or part says here that it is no path, or makes it a `path_field`."""
    seen = 0
    for kind in (*all_requests(), *Part.__subclasses__()):
        hints = typing.get_type_hints(kind)
        for field in dataclasses.fields(kind):
            if hints[field.name] in (str, tuple[str, ...]):
                assert ("path" in field.metadata) != (field.name in TEXTS), f"{kind.__name__}.{field.name}"
                seen += "path" in field.metadata
    assert seen > 10


def test_honest_paths_are_let_through(tmp_path: Path) -> None:
    there, photos = tmp_path / "x.saga", tmp_path / "photos"
    there.touch()
    photos.mkdir()
    for root in (None, tmp_path):
        assert set(refusals(reading(str(there)) + saving(str(there)) + folders(str(photos)), root)) == {""}
        assert set(refusals(every(str(tmp_path / "not there.saga")), root)) == {""}
        assert set(refusals(every(""), root)) == {""}
        assert refusals([Train("s", sources=TrainSources(cameras=str(photos)))], root) == [""]


@pytest.mark.parametrize(
    "text", ["x.saga", "../x.saga", "~/x.saga", "a\x00b", "/\x00", "/\udcff\x00", "/" + "a" * 5000]
)
def test_what_is_no_whole_path(text: str) -> None:
    assert all_refused(every(text))


def test_names_longer_than_the_system_allows(tmp_path: Path) -> None:
    assert all_refused(every(str(tmp_path / ("x" * 300 + ".saga"))))


@posix
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/dev/full"])
def test_devices(path: str) -> None:
    assert all_refused(every(path))


@posix
def test_pipes_and_sockets_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.saga")
    assert all_refused(every(str(tmp_path / "pipe.saga")))


def test_only_models_are_written(tmp_path: Path) -> None:
    for name in (".bashrc", "x.saga.txt", "x", "authorized_keys"):
        assert all_refused(saving(str(tmp_path / name)))
    (tmp_path / "folder.saga").mkdir()
    assert all_refused(saving(str(tmp_path / "folder.saga")))


@posix
def test_links_are_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "x.saga").symlink_to(tmp_path / "elsewhere")
    assert all_refused(saving(str(tmp_path / "x.saga")))
    assert refusals([LoadScene("s", no_gaussians(), model_file=str(tmp_path / "x.saga"))]) == [""]  # reading may


@posix
def test_nothing_leads_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "x.saga").touch()
    (root / "link").symlink_to(outside)
    (root / "x.saga").symlink_to(outside / "x.saga")
    (root / "loop").symlink_to(root / "loop")
    ways = [
        outside / "x.saga",
        root / ".." / "outside" / "x.saga",
        root / "link" / "x.saga",
        root / "link" / "new.saga",
    ]
    for way in [*ways, root / "loop" / "x.saga", tmp_path / "root2" / "x.saga"]:
        assert all_refused(every(str(way)), root), way
    assert all_refused(reading(str(root / "x.saga")), root)
