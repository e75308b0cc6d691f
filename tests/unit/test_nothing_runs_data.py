"""Data is never run: nothing is unpickled, evaluated or given to a shell, anywhere in the product or its scripts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT

FOLDERS = ("blender_saga", "backend", "scripts")
PICKLERS = {
    "pickle", "_pickle", "cPickle", "cloudpickle", "dill", "jsonpickle", "joblib", "marshal", "shelve", "dbm",
    "copyreg", "xmlrpc", "code", "codeop", "runpy", "imp", "pty", "telnetlib",
}  # fmt: skip
"""Modules that run what they read, or exist to run code."""
CALLS = {
    "eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec", "os.system", "os.popen", "os.startfile",
    "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "tempfile.mktemp",
    "torch.jit.load", "torch.package.PackageImporter", "torch.hub.load", "torch.hub.load_state_dict_from_url",
    "torch.utils.cpp_extension.load", "torch.utils.cpp_extension.load_inline", "numpy.fromregex", "pandas.read_pickle",
    "logging.config.listen", "types.CodeType", "types.FunctionType", "ssl._create_unverified_context",
}  # fmt: skip
STARTERS = {"subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output"}
EXEC_FAMILY = ("os.exec", "os.spawn", "os.posix_spawn")
ALLOWED_EXEC = {"scripts/bootstrap.py"}
"""It goes on as the same command in the environment that it has made: a list of arguments, no shell."""
CHANNEL = "blender_saga/wire/channel.py"
MULTIPROCESSING = {
    CHANNEL: {"AuthenticationError", "connection"},  # its `send` and `recv` pickle; only the key handshake is used
    "scripts/bench_blender.py": {"multiprocessing"},  # a fork, which is handed what it needs without pickling
}
"""Who imports what of multiprocessing."""
HANDSHAKE = {"deliver_challenge", "answer_challenge"}


def sources() -> list[Path]:
    found = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    assert len(found) > 150
    return found


def called(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the full name of what is called, by whatever name it was imported."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, dot, rest = ast.unparse(node.func).partition(".")
            yield node, names.get(first, first) + dot + rest


def constant(call: ast.Call, keyword: str) -> object:
    """The value of a keyword argument, where it is written out; None where it is missing, ... where it is computed."""
    for given in call.keywords:
        if given.arg == keyword:
            return given.value.value if isinstance(given.value, ast.Constant) else ...
    return ... if any(given.arg is None for given in call.keywords) else None  # **options may hold it


def unsafe(source: str, name: str = "") -> list[str]:
    """What a file does that could run data, a line each."""
    tree, found = ast.parse(source), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            of = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: {module}" for module in of if module.partition(".")[0] in PICKLERS]
            if any(module.partition(".")[0] == "multiprocessing" for module in of):
                taken = {alias.name for alias in node.names}
                found += [f"{node.lineno}: {taken} of multiprocessing"] * (
                    not taken <= MULTIPROCESSING.get(name, set())
                )
    found += [f"{call.lineno}: {what}" for call, what in called(tree) if forbidden(call, what, name)]
    return found


def forbidden(call: ast.Call, what: str, name: str) -> bool:
    shell = constant(call, "shell")
    if what in CALLS or (any(given.arg == "shell" for given in call.keywords) and shell is not False):
        return True
    if what.startswith(EXEC_FAMILY):
        return name not in ALLOWED_EXEC
    if what in STARTERS:  # one string would be a command line
        first = call.args[0] if call.args else ast.Constant("")
        return (
            shell is ...
            or isinstance(first, ast.JoinedStr)
            or (isinstance(first, ast.Constant) and isinstance(first.value, str))
        )
    if what == "torch.load":
        return constant(call, "weights_only") is not True
    if what in ("numpy.load", "np.load"):  # its default may change, and has
        return constant(call, "allow_pickle") is not False
    if what.startswith("multiprocessing.connection."):
        return what.rpartition(".")[2] not in HANDSHAKE
    return what.startswith("yaml.") and what not in ("yaml.safe_load", "yaml.safe_dump")


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell() -> None:
    found = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}:{line}" for line in unsafe(path.read_text(encoding="utf-8"), name)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "__import__(name)",
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import _pickle",
        "from joblib import load",
        "import joblib.numpy_pickle",
        "import marshal, os",
        "import shelve",
        "import os\nos.system('ls')",
        "from os import system as s\ns('ls')",
        "import os\nos.execv('/bin/sh', [])",
        "import os\nos.spawnl(0, 'sh')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run(line, shell=flag)",
        "import subprocess\nsubprocess.run(line, **options)",
        "import subprocess\nsubprocess.run('ls -l')",
        "from subprocess import Popen\nPopen(f'ls {x}')",
        "from subprocess import getoutput\ngetoutput('ls')",
        "import tempfile\ntempfile.mktemp()",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path)",
        "from torch import load\nload(path)",
        "import torch\ntorch.load(path, weights_only=safe)",
        "import torch\ntorch.jit.load(path)",
        "import numpy as np\nnp.load(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "from numpy import load\nload(path)",
        "import yaml\nyaml.load(text)",
        "import yaml\nyaml.unsafe_load(text)",
        "from multiprocessing.connection import Client",
        "from multiprocessing import Pool",
        "import multiprocessing",
    ],
)
def test_the_search_finds_them(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(path, weights_only=True)\nmodel.eval()",
        "import numpy as np\nnp.load(path, allow_pickle=False)\nnp.loadtxt(path)",
        "import subprocess\nsubprocess.run(['ls', '-l'], check=False)\nsubprocess.run(command, shell=False)",
        "import yaml\nyaml.safe_load(text)",
        "import re\nre.compile('a')\nimport json\njson.load(file)",
        "import os\nos.replace(a, b)",
    ],
)
def test_the_search_finds_nothing_else(source: str) -> None:
    assert not unsafe(source)


def test_the_channel_takes_only_the_handshake_of_multiprocessing() -> None:
    source = (ROOT / CHANNEL).read_text(encoding="utf-8")
    assert not unsafe(source, CHANNEL) and unsafe(source), "it would be found elsewhere"
    attributes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if ast.unparse(node.value) == "mp"}
    assert used == HANDSHAKE
