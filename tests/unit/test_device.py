"""Which device is used, and what the user is told about it, with stand-ins for torch."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from blender_saga.errors import UserError
from saga_backend.common.device import find_device


def fake_torch(
    built: str | None = "13.0",
    available: bool = True,
    works: bool = True,
    capability: tuple[int, int] = (8, 6),
    warning: str = "",
) -> SimpleNamespace:
    def ones(count: int, device: str) -> SimpleNamespace:
        assert device == "cuda"
        if not works:
            raise RuntimeError("no kernel image is available\nmore lines")
        return SimpleNamespace(sum=lambda: SimpleNamespace(item=lambda: count))

    def is_available() -> bool:
        if warning:
            warnings.warn(warning, UserWarning, stacklevel=2)
        return available

    card = SimpleNamespace(name="NVIDIA Toy", total_memory=8 * 2**30)
    cuda = SimpleNamespace(is_available=is_available, get_device_properties=lambda index: card)
    cuda.get_device_capability = lambda index: capability
    cuda.get_arch_list = lambda: ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120"]
    return SimpleNamespace(version=SimpleNamespace(cuda=built), cuda=cuda, ones=ones)


@pytest.fixture(autouse=True)
def no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The machine's own driver is not asked: an empty folder is all of the PATH. What a test puts there has time."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("saga_backend.common.device._SMI_SECONDS", 120.0)
    return tmp_path


@pytest.fixture
def card(no_card: Path) -> None:
    """A machine with a GPU, by the driver's own tool."""
    tool = no_card / "nvidia-smi"
    tool.write_text(f"#!{sys.executable} -I\nprint('NVIDIA Toy 3000, 470.10')\n")
    tool.chmod(0o755)


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
        (fake_torch(works=False), r"failed \(no kernel image is available\)"),
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
    with pytest.raises(UserError, match="'tpu' is unknown"):
        find_device("tpu")


# --- a GPU that is there and cannot be used: why, and what to do ---

OLD_DRIVER = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a #! script")
@pytest.mark.parametrize(
    ("torch", "why", "fix"),
    [
        (
            fake_torch(available=False, warning=OLD_DRIVER),
            "the driver 470.10 of the NVIDIA Toy 3000 supports CUDA up to 11.4, and the installed torch needs 13.0",
            "Update the NVIDIA driver",
        ),
        (
            fake_torch(built=None),
            "the installed torch was built without CUDA, so it cannot use the NVIDIA Toy 3000",
            "press Install",
        ),
        (
            fake_torch(works=False, capability=(6, 1)),
            "the NVIDIA Toy 3000 has compute capability 6.1, and the installed torch is built for "
            "7.5, 8.0, 8.6, 9.0, 12.0",
            "Own Python",
        ),
        (
            fake_torch(available=False),
            "torch does not find the NVIDIA Toy 3000 with driver 470.10",
            "Restart the machine",
        ),
        (
            fake_torch(works=False),
            "a test computation on the NVIDIA Toy 3000 failed (no kernel image is available)",
            "restart the backend",
        ),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_told_with_the_reason(install, card, torch, why: str, fix: str) -> None:
    install(torch)
    device = find_device("auto")
    assert device.name == "cpu" and device.note.endswith(f"no GPU, because {why}")
    assert device.obstacle.startswith(f"The GPU is not used: {why}. ") and fix in device.obstacle
    with pytest.raises(UserError) as caught:
        find_device("cuda")
    assert caught.value.why == why and "or CPU in the preferences" in caught.value.fix and fix in caught.value.fix


def test_no_gpu_is_no_obstacle(install) -> None:
    for torch in (fake_torch(available=False), fake_torch(built=None)):
        install(torch)
        assert find_device("auto").obstacle == ""


@pytest.mark.parametrize("capability", [(7, 5), (8, 9), (12, 0), (12, 1), (13, 0)])
def test_a_card_that_the_wheel_is_built_for_is_not_called_wrong(install, card, capability) -> None:
    """Also by a smaller minor version or by intermediate code: then the error of the test computation is shown."""
    install(fake_torch(works=False, capability=capability))
    assert "a test computation on the NVIDIA" in find_device("auto").obstacle


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for nvidia-smi is a #! script")
@pytest.mark.parametrize("source", ["raise SystemExit(9)", "print('nothing to see')", "print()"])
def test_a_driver_tool_that_fails_is_no_card(install, no_card: Path, source: str) -> None:
    tool = no_card / "nvidia-smi"
    tool.write_text(f"#!{sys.executable} -I\n{source}\n")
    tool.chmod(0o755)
    install(fake_torch(available=False))
    assert find_device("auto").obstacle == ""
