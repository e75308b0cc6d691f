"""The exception for errors that users can understand.

Any other exception is a bug and shows a traceback. Standard library only and valid Python 3.9, because the installer
imports this before an environment exists.
"""

from __future__ import annotations

from enum import Enum

REPORT = "If it happens again, press Copy Report and report the error"
"""The fix for an error that no user can have caused."""


class ErrorCode(str, Enum):  # noqa: UP042 - StrEnum needs Python 3.11, and the installer runs on 3.9
    """The kinds of user errors, which tests and callers compare and messages carry."""

    USER = "user"
    """The default: callers do not need to distinguish the error."""
    BUG = "bug"
    """A bug."""

    # Invalid values of a request or an option.
    BAD_CLICK = "bad_click"
    BAD_IDS = "bad_ids"
    BAD_NUMBERS = "bad_numbers"
    BAD_PATH = "bad_path"
    BAD_SCENE = "bad_scene"
    BAD_SETTINGS = "bad_settings"
    BAD_TEXT = "bad_text"
    BAD_VIEW = "bad_view"
    TOO_MANY_VIEWS = "too_many_views"

    # Files that cannot be read or written.
    BAD_FILE = "bad_file"
    BAD_MASKS = "bad_masks"
    BAD_MODEL = "bad_model"
    BAD_WEIGHTS = "bad_weights"
    CANNOT_WRITE = "cannot_write"
    DISK = "disk"
    FILE = "file"
    FINGERPRINT = "fingerprint"
    FOLDER = "folder"
    MISSING = "missing"
    OTHER_CLOUD = "other_cloud"

    # Failed installations.
    CHECKSUM = "checksum"
    INDEX = "index"
    CERTIFICATE = "certificate"
    NETWORK = "network"
    PERMISSION = "permission"

    # Missing prerequisites.
    NO_CAMERAS = "no_cameras"
    NO_CANDIDATE = "no_candidate"
    NO_CLUSTER = "no_cluster"
    NO_CLUSTERS = "no_clusters"
    NO_FOLDER = "no_folder"
    NO_MASKS = "no_masks"
    NO_MODEL = "no_model"
    NO_OBJECT = "no_object"
    NO_PREVIEW = "no_preview"
    NO_PROMPT = "no_prompt"
    NO_PYTHON = "no_python"
    NO_SCENE = "no_scene"
    NO_SELECTION = "no_selection"
    NO_VIEWS = "no_views"
    NOT_INSTALLED = "not_installed"
    OFFLINE = "offline"

    # The state of the splat in Blender.
    ALL_SELECTED = "all_selected"
    CHANGED = "changed"
    EMPTY = "empty"
    EMPTY_SCENE = "empty_scene"
    FOREIGN_POINTS = "foreign_points"
    HIDDEN = "hidden"
    INSTANCE = "instance"
    LINKED = "linked"
    NOT_A_SPLAT = "not_a_splat"
    OTHER_CLIP = "other_clip"
    SHARED = "shared"

    # The backend: its process, the connection to it, its current work.
    ADDRESS = "address"
    BUSY = "busy"
    DEVICE = "device"
    DIVERGED = "diverged"
    IDLE = "idle"
    INSTALL = "install"
    KEY = "key"
    LOST = "lost"
    NO_MEMORY = "no_memory"
    NOT_RUNNING = "not_running"
    NOT_STARTED = "not_started"
    NOT_YOURS = "not_yours"
    ROOT = "root"
    START = "start"
    STOPPED = "stopped"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    VERSION = "version"
    WIRE = "wire"
    WRONG_KEY = "wrong_key"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def of(cls, name: str) -> ErrorCode:
        """The code with this name; USER for a name that this version does not know."""
        return cls(name) if name in cls._value2member_map_ else cls.USER


class UserError(Exception):
    """What happened, why, and how to fix it: an operator report in Blender, a line on stderr in the CLI.

    Args:
        what: what happened, one clause without a full stop ("The file scene.ply has no Gaussians").
        why: the reason, if known ("its header says 'element vertex 0'").
        fix: what to do next ("Export it again from the trainer").
        code: the kind of error.
    """

    def __init__(self, what: str, why: str = "", fix: str = "", code: ErrorCode = ErrorCode.USER) -> None:
        self.what, self.why, self.fix, self.code = what, why, fix, code
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The message as one line of text."""
        text = self.what + (f": {self.why}" if self.why else "")
        return f"{text}. {self.fix}".rstrip() if self.fix else f"{text}."


class Cancelled(Exception):
    """A job was cancelled by the user, which is not an error."""
