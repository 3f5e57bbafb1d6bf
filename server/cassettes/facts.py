"""What ran: the settings without secrets, and versions, for the head of a cassette."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import SecretStr

from server.settings.settings import Settings

_PACKAGES = ("voice-ai-system", "pipecat-ai", "google-genai", "websockets", "numpy")


def facts(settings: Settings) -> Mapping[str, Any]:
    """`settings`, `versions` and `model`, as plain values."""
    return {
        "settings": _without_secrets(settings),
        "versions": {**{name: _version(name) for name in _PACKAGES}, "python": _python()},
        "model": settings.gemini_model,
    }


def _without_secrets(settings: Settings) -> dict[str, Any]:
    """Nothing that is secret, or whose text may hold a password."""
    kept = {}
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        hidden = not field.repr or name.endswith(("_key", "_keys", "_token", "_secret"))
        if not hidden and not isinstance(value, SecretStr) and name != "inbound_numbers":
            kept[name] = value if isinstance(value, bool | int | float) else str(value)
    return kept


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _python() -> str:
    return platform.python_version()
