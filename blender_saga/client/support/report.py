"""The support report, without private data of the user (pure).

The report redacts raw log lines: first known names and folders of the user, then everything that looks like a path, a
key, a web address or an email address. It redacts too much rather than too little.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PureWindowsPath

_ENDINGS = "ply|spz|splat|ksplat|sog|glb|gltf|blend\\d*|saga|npy|npz|png|jpe?g|exr|tiff?|webp|json|txt|bin|pth?|zip"
_ENDINGS += "|safetensors"
_START = r"(?:(?:<name \d+>|~)[\\/]|(?<![\w~>.])[A-Za-z]:[\\/]|(?<![\w~>./\\])[\\/])"
_FILE = re.compile(rf"{_START}(?:(?! [\\/]| [A-Za-z]:[\\/]|: )[^\n'\"<>|])*?\.(?P<ending>{_ENDINGS})\b", re.IGNORECASE)
_PATH = re.compile(rf"{_START}[^\s'\"<>|:,;)\]]{{2,}}")
_QUOTED = re.compile(r"(?<!\w)'[^'\n]*'|\"[^\"\n]*\"")
_PATTERNS = (
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE), "<url>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+"), "<email>"),
    (
        re.compile(
            r"(?i)\b(\w*(?:token|password|passwd|secret|key|authorization|bearer))\b(\s*[=:]\s*|\s+)(?=\S*\d)\S+"
        ),
        r"\1 <key>",
    ),
    (re.compile(r"\b[0-9a-fA-F]{20,}\b"), "<hex>"),
    (re.compile(r"(?<![\w/.])(?=[\w+=-]*\d)(?=[\w+=-]*[a-z])(?=[\w+=-]*[A-Z])[A-Za-z0-9+_=-]{32,}"), "<key>"),
)
_SHORTEST = 3  # shortest name to redact


@dataclass
class Redactor:
    """Redacts private data.

    Attributes:
        private: paths and names of the user's files, folders and objects, in any form.
        home: the user's home folder, shown as "~".
        people: names of the user and the machine.
        known: folders with public paths: Blender's, the extension's, Python's.
    """

    private: Iterable[str]
    home: Path
    people: Iterable[str] = ()
    known: Iterable[Path] = ()
    _numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        homes = {str(self.home), str(self.home.resolve()), self.home.as_posix()}
        self._homes = sorted((h for h in homes if len(h) > 1), key=len, reverse=True)
        words: dict[str, str] = {}
        for value in sorted({value for value in self.private if value.strip()}):
            for form, ending in _forms(value):
                words.setdefault(self._from_home(form), ending)
        self._words = sorted((w for w in words.items() if len(w[0]) >= _SHORTEST), key=lambda word: -len(word[0]))
        known = {form for path in self.known for form in (str(path), str(path.resolve()), path.as_posix())}
        self._known = [self._from_home(form) for form in known]
        self._people = [name for name in dict.fromkeys(self.people) if len(name) >= _SHORTEST]

    def __call__(self, text: str) -> str:
        """Redact a text line by line."""
        return "\n".join(self._line(line) for line in text.splitlines())

    def _from_home(self, text: str) -> str:
        """Replace the home folder by "~", so that names in its path are not searched."""
        for home in self._homes:
            text = re.sub(rf"{re.escape(home)}(?![\w-])", "~", text)
        return text

    def _line(self, line: str) -> str:
        clean = self._from_home(line)
        for word, ending in self._words:
            if word in clean:
                label = f"<name {self._numbers.setdefault(PurePath(word).stem, len(self._numbers) + 1)}>{ending}"
                clean = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", label, clean)  # the label has no backslash
        clean = _PATTERNS[0][0].sub(_PATTERNS[0][1], clean)
        clean = _FILE.sub(lambda m: m[0] if self._may_show(m[0]) else f"<path>.{m['ending']}", clean)
        clean = _PATH.sub(lambda m: m[0] if self._may_show(m[0]) else "<path>", clean)
        if clean != line and ("<name" in clean or "<path>" in clean):
            clean = _QUOTED.sub("'...'", clean)  # errors quote words of unreadable files
        for pattern, label in _PATTERNS[1:]:
            clean = pattern.sub(label, clean)
        for name in self._people:
            clean = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "<user>", clean, flags=re.IGNORECASE)
        return clean

    def _may_show(self, path: str) -> bool:
        known = any(path == known or path.startswith((known + "/", known + "\\")) for known in self._known)
        return known or re.match(r"~[\\/](?:\.|AppData|Library)", path) is not None


def _forms(value: str) -> Iterator[tuple[str, str]]:
    """The forms of a path or name in a text, with the file extension that may be shown."""
    path: PurePath = PureWindowsPath(value) if "\\" in value else PurePath(value)
    ending = path.suffix if re.fullmatch(rf"\.(?:{_ENDINGS})", path.suffix, re.IGNORECASE) else ""
    for form in {value, value.strip(), repr(value)[1:-1], path.as_posix()}:
        yield form.rstrip("\\/"), ending
    if path.name != value:
        yield path.name, ending
        if len(path.parent.parts) > 1:
            yield from ((str(path.parent), ""), (path.parent.as_posix(), ""), (path.parent.name, ""))
    if ending:
        yield path.stem, ""


@dataclass(frozen=True)
class Section:
    """A section of the report: a heading and its lines."""

    title: str
    lines: Sequence[str]


def compose(sections: Iterable[Section], clean: Redactor) -> str:
    """The complete, redacted report."""
    parts = [f"== {s.title} ==\n" + clean("\n".join(s.lines) if s.lines else "nothing") for s in sections]
    return "Blender SAGA, report for support\n\n" + "\n\n".join(parts) + "\n"


def packages(environment: Path, names: Sequence[str]) -> list[str]:
    """Versions of packages in a virtual environment, read from its folder."""
    found: dict[str, str] = {}
    for info in environment.glob("lib/python*/site-packages/*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found[name.lower().replace("_", "-")] = version
    for info in environment.glob("Lib/site-packages/*.dist-info"):  # Windows
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        found[name.lower().replace("_", "-")] = version
    return [f"{name} {found.get(name, 'is missing')}" for name in names]
