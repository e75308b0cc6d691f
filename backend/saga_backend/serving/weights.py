"""Official weights files, downloaded with the user's consent."""

from __future__ import annotations

from pathlib import Path

from blender_saga.errors import ErrorCode, UserError
from blender_saga.wire.messages import FetchWeights, Weights

from ..common.progress import Control
from ..masks.sam import weights as sam
from ..text import clip_files


def fetch_weights(request: FetchWeights, control: Control) -> Weights:
    """Download a weights file.

    Raises:
        UserError: if there are no weights of that kind, or the download fails.
        Cancelled: if the control was cancelled; the partial file stays.
    """
    known = sam.OFFICIAL | {clip_files.OFFICIAL.kind: clip_files.OFFICIAL}
    file = known.get(request.kind)
    if file is None:
        raise UserError(
            f"There are no weights '{request.kind}'", fix=f"Use: {', '.join(known)}", code=ErrorCode.BAD_SETTINGS
        )
    folder = Path(request.folder) if request.folder else sam.weights_folder()
    return Weights(str(sam.download(file, folder, control)))
