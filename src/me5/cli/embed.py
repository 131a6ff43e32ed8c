"""`me5 embed`."""


def embed() -> None:
    """Placeholder while the command is being written."""
