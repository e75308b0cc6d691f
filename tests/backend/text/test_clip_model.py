"""CLIP's weights: the same vectors as open_clip's own, and what is refused before anything is built from it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from blender_saga.errors import UserError
from saga_backend.text.clip_config import ClipConfig, find_config
from saga_backend.text.clip_model import LoadedClip, build, open_clip_file, shared_clip
from saga_backend.tools.tiny_clip import TinySettings, save

VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TINY = TinySettings(side=32, width=8, embed=16, text_width=16, text_layers=1)


@pytest.fixture(scope="module", params=["transformer", "resnet"])
def weights(request, tmp_path_factory) -> Path:
    """A file of random weights of either kind, with its JSON."""
    config = ClipConfig("tiny", VIT) if request.param == "transformer" else TINY.config()
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "tiny.pt"
    save(LoadedClip(build(config).eval(), config, ""), path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_clip_file(path)
    assert caught.value.code == "bad_weights" and str(path.stem) in caught.value.sentence()
    return caught.value.sentence()


def copy_of(weights: Path, folder: Path, name: str = "copy.pt") -> Path:
    out = folder / name
    out.write_bytes(weights.read_bytes())
    out.with_suffix(".json").write_text(weights.with_suffix(".json").read_text())
    return out


def test_the_vectors_are_open_clips(weights, rng):
    loaded = open_clip_file(weights)
    theirs = build(loaded.config)
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    theirs.eval()
    side = loaded.side
    pictures = rng.integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    prepare = open_clip.image_transform(side, is_train=False)
    length = loaded.config.sizes["text_cfg"]["context_length"]
    words = ["red box", "a photo of something else, and quite long", "Größe"]
    with torch.no_grad():
        seen = theirs.encode_image(torch.stack([prepare(Image.fromarray(p)) for p in pictures]), normalize=True)
        read = theirs.encode_text(open_clip.SimpleTokenizer(context_length=length)(words), normalize=True)
    np.testing.assert_allclose(loaded.encode_pictures(pictures), seen.numpy(), atol=1e-5)
    np.testing.assert_allclose(loaded.encode_texts(words), read.numpy(), atol=1e-5)
    assert loaded.encode_pictures(pictures[:0]).shape == (0, loaded.width)


def test_any_container_is_the_same_model(weights, tmp_path):
    plain = open_clip_file(weights)
    tensors = torch.load(weights, weights_only=True)
    describe = weights.with_suffix(".json").read_text()
    (tmp_path / "open_clip_config.json").write_text(describe)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "a.safetensors")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}}, tmp_path / "b.pt")
    for name in ("a.safetensors", "b.pt"):
        assert open_clip_file(tmp_path / name).identity == plain.identity
    changed = dict(tensors) | {"logit_scale": tensors["logit_scale"] + 1}
    torch.save(changed, tmp_path / "c.pt")
    assert open_clip_file(tmp_path / "c.pt").identity != plain.identity


def test_the_last_one_is_kept_until_its_file_changes(weights, tmp_path):
    path = copy_of(weights, tmp_path)
    first = shared_clip(path)
    assert shared_clip(path) is first
    tensors = torch.load(path, weights_only=True)
    torch.save(dict(tensors) | {"more": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="unexpected"):
        shared_clip(path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(weights, tmp_path, share):
    path = copy_of(weights, tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "truncated" in refusal(path)


def test_a_truncated_safetensors_file_is_refused(weights, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    path.write_bytes(path.read_bytes()[:-100])
    refusal(path)


def test_other_files_are_refused(weights, tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "named tensors" in refusal(tmp_path / "list.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "other.pt")
    assert "no model of open_clip" in refusal(tmp_path / "other.pt")
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "program.pt")
    assert "TorchScript" in refusal(tmp_path / "program.pt")


class _Runs:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_nothing_in_a_file_is_run(tmp_path):
    proof = tmp_path / "it_ran"
    for name, write in (("a.pt", torch.save), ("b.pt", lambda what, path: path.write_bytes(pickle.dumps(what)))):
        write({"x": _Runs(str(proof))}, tmp_path / name)
        refusal(tmp_path / name)
    assert not proof.exists()


def test_tensors_must_fit_the_description(weights, tmp_path):
    tensors = torch.load(weights, weights_only=True)
    path = copy_of(weights, tmp_path)
    for wrong, words in (
        ({k: v for k, v in tensors.items() if k != "text_projection"}, "text_projection"),
        (dict(tensors) | {"text_projection": torch.zeros(3, 3)}, "text_projection"),
        (dict(tensors) | {"logit_scale": torch.tensor(float("nan"))}, "not finite"),
    ):
        torch.save(wrong, path)
        assert words in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        "not json", "[1, 2]", "{}", '{"model": "no such model"}', '{"model": "coca_ViT-B-32"}',
        '{"model": "ViT-B-16-SigLIP"}', '{"model_cfg": {"embed_dim": 16}}',
        json.dumps(VIT | {"embed_dim": -1}), json.dumps(VIT | {"embed_dim": "16"}),
        json.dumps(VIT | {"text_cfg": VIT["text_cfg"] | {"hf_model_name": "x"}}),
        json.dumps(VIT | {"vision_cfg": VIT["vision_cfg"] | {"layers": 100_000}}),
        json.dumps(VIT | {"vision_cfg": VIT["vision_cfg"] | {"patch_size": 7, "head_width": 13}}),
        json.dumps({"model_cfg": VIT, "preprocess_cfg": {"mean": [0.5], "std": [0.5]}}),
    ],
)  # fmt: skip
def test_a_description_that_is_none_is_refused(weights, tmp_path, content):
    path = copy_of(weights, tmp_path)
    path.with_suffix(".json").write_text(content)
    refusal(path)


@pytest.mark.parametrize(
    ("file", "name"), [("any.pt", "ViT-B-16"), ("b16-quickgelu-x.pt", "ViT-B-16-quickgelu"), ("any.bin", "ViT-L-14")]
)
def test_published_models_are_recognized_by_their_shapes(tmp_path, file, name):
    with torch.device("meta"):
        tensors = build(ClipConfig("x", open_clip.get_model_config(name))).state_dict()
    found = find_config(tmp_path / file, tensors)
    assert found.name == name
    assert found.sizes.get("quick_gelu", False) == name.endswith("quickgelu")
