"""Makes a project folder for an agent: a copy of `my-agent/` with the names changed."""

import keyword
import re
import unicodedata
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

TEMPLATE = "my-agent"
# The two names in the template's files, and in the paths of them.
NAME, PACKAGE = "my-agent", "my_agent"
LEFT_OUT = {"__pycache__", ".pytest_cache", ".ruff_cache"}


class RepositoryError(Exception):
    """The project cannot be made; the message says why. Nothing was written."""


def make_repository(folder: Path) -> list[Path]:
    """Write the files; returns their paths, sorted. Project and package are named after the folder.

    Raises: RepositoryError for a name that neither can have, and when a file is there already.
    """
    package = package_of(folder.resolve().name)
    name = project_of(folder.resolve().name)
    source = files("server.scaffold") / TEMPLATE
    written = {
        folder / path: text
        for path, text in _filled(source, Path(), {NAME: name, PACKAGE: package}).items()
    }
    # Git never sees this one: settings, and later secrets.
    written[folder / ".env"] = written[folder / ".env.example"]
    if there := sorted(str(path) for path in written if path.exists()):
        raise RepositoryError(f"Already there, and nothing was written: {', '.join(there)}")
    for path, text in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return sorted(written)


def package_of(name: str) -> str:
    """The package's name for a project of this name: "my-agent" has `my_agent`.

    Raises: RepositoryError when there can be none, or when it would hide another package.
    """
    package = re.sub(r"[-. ]+", "_", name).lower()
    if not package.isidentifier() or keyword.iskeyword(package):
        raise RepositoryError(
            f"{name!r} cannot be the name of a Python package: letters, digits and dashes, and no "
            "digit first"
        )
    if find_spec(package) is not None:
        raise RepositoryError(
            f"There is a Python package {package!r} already, which this one would hide: choose "
            "another name"
        )
    return package


def project_of(name: str) -> str:
    """The project's name in pyproject.toml for this name: "My Agent" is `My-Agent`.

    Raises: RepositoryError when there can be none.

    Source: https://packaging.python.org/en/latest/specifications/name-normalization/
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    project = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("._-")
    if not project:
        raise RepositoryError(
            f"{name!r} cannot be the name of a project: there is no letter a to z"
        )
    return project


def _filled(source: Traversable, at: Path, names: dict[str, str]) -> dict[Path, str]:
    """The text of each file in it, by its path."""
    found: dict[Path, str] = {}
    for entry in source.iterdir():
        if entry.name in LEFT_OUT:
            continue
        path = at / _renamed(entry.name, names)
        if entry.is_dir():
            found |= _filled(entry, path, names)
        else:
            found[path] = _renamed(entry.read_text(encoding="utf-8"), names)
    return found


def _renamed(text: str, names: dict[str, str]) -> str:
    pattern = "|".join(map(re.escape, names))
    return re.sub(pattern, lambda match: names[match[0]], text)
