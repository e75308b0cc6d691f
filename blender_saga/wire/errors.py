"""The one exception that means "tell the user".

Anything else that is raised is a bug and shows a traceback. Standard library only and valid Python 3.9, because the
installer imports it before there is an environment.
"""

from __future__ import annotations

REPORT = "If it happens again, press Copy Report and report it"
"""What to do about an error that no user can have caused."""


class UserError(Exception):
    """What happened, why, and what the user can do: shown in Blender as an operator report, on stderr by the CLI.

    Args:
        what: what happened, one clause without a full stop ("The file scene.ply has no Gaussians").
        why: the reason, where one is known ("its header says 'element vertex 0'").
        fix: what to do next ("Export it again from the trainer").
        code: stable machine name of the kind of error; travels on the wire.
    """

    def __init__(self, what: str, why: str = "", fix: str = "", code: str = "user") -> None:
        self.what, self.why, self.fix, self.code = what, why, fix, code
        super().__init__(self.sentence())

    def sentence(self) -> str:
        """The message as one line of text."""
        text = self.what + (f": {self.why}" if self.why else "")
        return f"{text}. {self.fix}".rstrip() if self.fix else f"{text}."


class Cancelled(Exception):
    """A job was stopped on request. Not an error: nothing is reported but that it stopped."""
