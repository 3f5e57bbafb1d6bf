"""Version of this program, from the package's metadata."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The installed version; "0" in a checkout that was never installed."""
    try:
        return version("voice-ai-system")
    except PackageNotFoundError:
        return "0"
