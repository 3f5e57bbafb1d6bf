"""What this program is, as the package's metadata says."""

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """The version that is installed; "0" in a checkout that was never installed."""
    try:
        return version("voice-ai-system")
    except PackageNotFoundError:
        return "0"
