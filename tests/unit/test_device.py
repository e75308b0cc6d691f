"""Which device is used, and what the user is told about it, with stand-ins for torch."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from saga_backend.device import find_device

from blender_saga.wire.errors import UserError


def fake_torch(built: str | None = "13.0", available: bool = True, works: bool = True) -> SimpleNamespace:
    def ones(count: int, device: str) -> SimpleNamespace:
        assert device == "cuda"
        if not works:
            raise RuntimeError("no kernel image is available\nmore lines")
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: count))

    card = SimpleNamespace(name="NVIDIA Toy", total_memory=8 * 2**30)
    cuda = SimpleNamespace(is_available=lambda: available, get_device_properties=lambda index: card)
    return SimpleNamespace(version=SimpleNamespace(cuda=built), cuda=cuda, ones=ones)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    return lambda torch: monkeypatch.setitem(sys.modules, "torch", torch)


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_card_that_works(install, wanted: str) -> None:
    install(fake_torch())
    device = find_device(wanted)
    assert (device.name, device.note) == ("cuda", "NVIDIA Toy with 8 GB, CUDA 13.0")


@pytest.mark.parametrize(
    ("torch", "obstacle"),
    [
        (fake_torch(built=None), "built without CUDA"),
        (fake_torch(available=False), "no NVIDIA GPU with a working driver"),
        (fake_torch(works=False), r"refused a test sum \(no kernel image is available\)"),
    ],
)
def test_a_card_that_does_not(install, torch: SimpleNamespace, obstacle: str) -> None:
    install(torch)
    with pytest.raises(UserError, match=obstacle) as caught:
        find_device("cuda")
    assert caught.value.code == "device"
    device = find_device("auto")
    assert device.name == "cpu"
    assert device.note.startswith("CPU with")


def test_the_cpu_when_it_is_chosen(install) -> None:
    install(fake_torch())
    device = find_device("cpu")
    assert device.name == "cpu"
    assert device.note.endswith("as chosen")


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
def test_an_environment_without_torch(install, wanted: str) -> None:
    install(None)
    with pytest.raises(UserError, match="Press Install"):
        find_device(wanted)


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(UserError, match="no device 'tpu'"):
        find_device("tpu")
