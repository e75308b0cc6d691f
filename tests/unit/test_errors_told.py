"""What users are told, held by reading the source: each error says what to do, by the names that things have in the UI.

How it reads is judged by people; this holds what a test can: that a fix is there, that its buttons exist, that it is
no machine talk.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from blender_saga.errors import ErrorCode, UserError
from tests.paths import ROOT

FOLDERS = (ROOT / "blender_saga", ROOT / "backend")
WITHOUT_FIX = {
    "Nothing is running": "there is nothing to do",
    "A client was refused": "only the log has it: the client is told by its own side",
}
OF_BLENDER = {"Ctrl C", "Install from Disk"}
JARGON = re.compile(
    r"\b(stderr|stdout|errno|traceback|exception|NoneType|null|dtype|ndarray|segfault|subprocess|invalid argument)\b"
    r"|\b(?:failed|unable) to\b|\bplease\b|!",
    re.IGNORECASE,
)


def errors() -> Iterator[tuple[str, ast.Call]]:
    """Every place where a UserError is made."""
    for path in sorted(p for folder in FOLDERS for p in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "UserError":
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", node


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == name), None)
    return call.args[position] if len(call.args) > position else named


def words(node: ast.AST | None) -> str:
    """What is known of a text: what is computed in it stands as {}."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return ""


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the source that may be part of what a user is told."""
    for path in sorted(p for folder in FOLDERS for p in folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if id(node) not in documentation and (text := words(node)):
                yield f"{path.relative_to(ROOT).as_posix()}:{node.lineno}", text


def labels() -> set[str]:
    """Every text that a button, a panel or a choice of the UI may have."""
    found = set()
    for path in [*(ROOT / "blender_saga" / "ui").glob("*.py"), *(ROOT / "blender_saga" / "scene").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_error_says_what_to_do() -> None:
    found, known = [], set()
    for where, call in errors():
        starred = any(isinstance(part, ast.Starred) for part in call.args)  # handed on from another
        fix, what = argument(call, 2, "fix"), words(argument(call, 0, "what"))
        empty = fix is None or (isinstance(fix, ast.Constant) and not fix.value)
        if empty and not starred:
            known.add(what)
            found += [where] if what not in WITHOUT_FIX else []
    assert not found, "\n".join(found)
    assert known == set(WITHOUT_FIX), "the list of those without has to be as short as it can be"


def test_a_sentence_begins_with_what_happened_and_has_no_full_stop_of_its_own() -> None:
    """`UserError.sentence` puts "what: why. fix" together."""
    found = []
    for where, call in errors():
        what, why, fix = (words(argument(call, i, name)) for i, name in enumerate(("what", "why", "fix")))
        begins = not what or what[0].isupper() or what[0] in "{-"
        ends = [text for text in (what, why, fix) if text.endswith((".", "!", ":"))]
        low = not why or not re.match(r"[A-Z][a-z]+ (?!Python|Blender|Ray)", why)
        if not begins or ends or (fix and not (fix[0].isupper() or fix[0] in "{")) or not low:
            found.append(f"{where}: {what!r} {why!r} {fix!r}")
    assert not found, "\n".join(found)


def test_buttons_that_are_named_exist() -> None:
    existing, found = labels() | OF_BLENDER, []
    for where, text in texts():
        for name in re.findall(r"\b[Pp]ress ((?:[A-Z]\w*)(?: [A-Z]\w*)*)", text):
            found += [f"{where}: there is no button {name!r}"] if name not in existing else []
    assert not found, "\n".join(found)


def test_no_machine_talk() -> None:
    found = []
    for where, call in errors():
        for part in (words(argument(call, i, name)) for i, name in enumerate(("what", "why", "fix"))):
            if match := JARGON.search(part):
                found.append(f"{where}: {match[0]!r} in {part!r}")
    assert not found, "\n".join(found)


def test_codes_are_named_by_the_enum_and_each_is_used() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for folder in FOLDERS for path in folder.rglob("*.py"))
    written_out = [where for where, call in errors() if words(argument(call, 3, "code"))]
    assert not written_out, "\n".join(written_out)
    unused = [code.name for code in ErrorCode if code is not ErrorCode.USER and f"ErrorCode.{code.name}" not in source]
    assert not unused, unused


def test_the_checks_find_what_they_look_for() -> None:
    call = ast.parse("UserError('x', why='y')").body[0].value
    assert argument(call, 2, "fix") is None and words(argument(call, 1, "why")) == "y"
    assert words(ast.parse("f'The file {name} is gone'", mode="eval").body) == "The file {} is gone"
    assert JARGON.search("Unable to write, errno 5") and not JARGON.search("The file cannot be written")
    assert {"Install", "Restart", "Train Affinity", "Copy Report"} <= labels() and "Instal" not in labels()
    assert UserError("A", "b", "C").sentence() == "A: b. C"
