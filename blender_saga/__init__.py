"""Blender SAGA: select objects in Gaussian splats with a click. Only `register` imports Blender."""


def register() -> None:
    """Enable the extension; Blender calls this."""
    from .ui import registration

    registration.register()


def unregister() -> None:
    """Disable the extension; Blender calls this."""
    from .ui import registration

    registration.unregister()
