"""The report for support: what helps stays, what is the user's own does not, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blender_saga.client.support.report import Redactor, Section, compose, packages

HOME = Path("/homes/somebody")
KNOWN = (Path("/usr/lib"), HOME / ".config/blender/5.2/extensions/user_default/blender_saga")


def redactor(*private: str, people: tuple[str, ...] = ("somebody", "annas-laptop")) -> Redactor:
    return Redactor(private, HOME, people, KNOWN)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        # what helps
        ("Blender 5.2.3, torch 2.11.0, driver 580.65.06", "Blender 5.2.3, torch 2.11.0, driver 580.65.06"),
        ("nvidia-cublas==13.1.0.3 needs and/or 0.5/s", "nvidia-cublas==13.1.0.3 needs and/or 0.5/s"),
        ("ModuleNotFoundError: No module named 'torch'", "ModuleNotFoundError: No module named 'torch'"),
        ('File "/usr/lib/python3.13/json/decoder.py", line 3', 'File "/usr/lib/python3.13/json/decoder.py", line 3'),
        (
            f'File "{KNOWN[1]}/wire/codec.py", line 3',
            'File "~/.config/blender/5.2/extensions/user_default/blender_saga/wire/codec.py", line 3',
        ),
        # the user's own files
        ("The file /data/Customer X/dragon.ply has no Gaussians", "The file <path>.ply has no Gaussians"),
        ("The file C:\\Work\\Customer X\\dragon.PLY has no Gaussians", "The file <path>.PLY has no Gaussians"),
        ("cannot write /mnt/share/customer, it is full", "cannot write <path>, it is full"),
        ("/homes/somebody/secret/scene.ply: line 1 says 'my poem'", "<path>.ply: line 1 says '...'"),
        ("reads //textures/face.png", "reads <path>.png"),
        # people, machines, keys
        ("user somebody on Annas-Laptop", "user <user> on <user>"),
        ("mail to anna.b@studio.example now", "mail to <email> now"),
        ("index at https://me:pw1@mirror.studio.example/simple", "index at <url>"),
        ("key 00112233445566778899aabbccddeeff", "key <key>"),
        ("fingerprint 00112233445566778899aabbccddeeff.", "fingerprint <hex>."),
        ("HF_TOKEN=hf_abc123 set", "HF_TOKEN <key> set"),
        ("sent Ab3dEf6hIj9lMn2pQr5tUv8xYz1BcD4f", "sent <key>"),
    ],
)
def test_a_line(line: str, expected: str) -> None:
    assert redactor()(line) == expected


def test_names_that_are_known_go_wherever_they_stand() -> None:
    clean = redactor("/data/customer/red dragon.ply", "//scenes/shot 12.blend", "Queen Anne", "ab")
    text = (
        "red dragon.ply, /data/customer/red dragon.ply, red dragon, customer, shot 12, Queen Anne.001, Queen Anne, ab"
    )
    said = clean(text)
    for word in ("dragon", "customer", "shot", "Queen"):
        assert word not in said
    assert said.endswith(", ab")  # too short to be anything
    assert clean("red dragon.ply") == said.split(",")[0]  # one name, one label: what belongs together is seen


def test_names_that_are_also_parts_of_the_home_leave_it_readable() -> None:
    clean = redactor("/homes/scene.ply", "/data/homes/x.ply", "/homes/somebody/scene.blend", "somebody")
    assert clean("torch warns of /homes/somebody/.cache/x") == "torch warns of ~/.cache/x"
    assert "scene" not in clean("/homes/somebody/scene.blend and /homes/somebody/scene.ply")


def test_windows_paths_in_any_writing() -> None:
    path = "C:\\Users\\anna\\Secret Films\\hero.blend"
    clean = Redactor([path], Path("C:\\Users\\anna"), ["anna"])
    for form in (path, repr(path), path.replace("\\", "/"), "hero.blend", "Secret Films"):
        said = clean(f"cannot open {form} now")
        assert not {"hero", "Secret", "anna"} & set(said.replace("\\", " ").replace("/", " ").replace(".", " ").split())


NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=("Cc", "Cs", "Zl", "Zp")),
    min_size=3,
    max_size=20,
)


@given(
    NAMES.filter(lambda name: len(name.strip()) >= 3 and not set(name) <= set(". ")),
    st.sampled_from(["ply", "blend", "saga"]),
)
def test_no_name_of_a_file_survives(name: str, ending: str) -> None:
    secret = f"q{name.strip()}q"
    clean = redactor(f"/data/{secret}.{ending}")
    for line in (
        f"The file /data/{secret}.{ending} is locked",
        f"{secret}.{ending} is locked",
        f"(/data/{secret}.{ending})",
    ):
        assert secret not in clean(line)


def test_the_whole() -> None:
    text = compose([Section("Versions", ["Blender 5.2"]), Section("Last errors", [])], redactor())
    assert text == "Blender SAGA, report for support\n\n== Versions ==\nBlender 5.2\n\n== Last errors ==\nnothing\n"


def test_versions_are_read_without_starting_anything(tmp_path: Path) -> None:
    (tmp_path / "lib" / "python3.13" / "site-packages" / "torch-2.11.0+cu130.dist-info").mkdir(parents=True)
    assert packages(tmp_path, ("torch", "numba")) == ["torch 2.11.0+cu130", "numba is missing"]
