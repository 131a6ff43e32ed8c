"""The version, in one place: the build and the changelog test read it here."""

__version__ = "0.1.0"
