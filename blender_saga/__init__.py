"""Blender SAGA: click a thing in a Gaussian splat and it is selected. Blender is imported only when it registers."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .ui import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from .ui import registration

    registration.unregister()
