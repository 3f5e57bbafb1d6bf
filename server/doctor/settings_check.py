"""Checks the settings: whether they can be read, where they come from, what is not set."""

from pathlib import Path

from server.doctor.findings import Finding, fail, ok, skip, warn
from server.settings.settings import Settings, SettingsError, names_that_differ, read_settings

NAME = "settings"


def read_or_explain(env_file: Path) -> tuple[Settings | None, list[Finding]]:
    """The settings, and what is to say about them; None: they cannot be read."""
    try:
        settings = read_settings(env_file)
    except SettingsError as error:
        lines = str(error).splitlines()[1:]
        return None, [
            fail(NAME, line.strip(), "Correct it; see docs/settings.md.") for line in lines
        ]
    return settings, [_source(env_file), *_differences(env_file)]


def _source(env_file: Path) -> Finding:
    path = env_file.absolute()
    if path.is_file():
        return ok(NAME, f"read from {path} and the environment")
    return warn(
        NAME,
        f"there is no {path}: only the environment counts",
        "Run this in the folder of your .env, or copy .env.example there.",
    )


def _differences(env_file: Path) -> list[Finding]:
    if differ := names_that_differ(env_file):
        names = ", ".join(differ)
        return [
            warn(NAME, f"the environment overrides the file: {names}", "Unset what is not meant.")
        ]
    return []


def missing(settings: Settings, name: str, *variables: str) -> Finding | None:
    """The finding for settings that are not set, without which there is nothing to check."""
    unset = [it.upper() for it in variables if not getattr(settings, it)]
    if not unset:
        return None
    do = f"Set {', '.join(unset)}."
    says = f"{', '.join(unset)} not set"
    return fail(name, says, do) if name in ("twilio", "gemini") else skip(name, says, do)
