"""The image's locks: what the server needs, at the versions that are tested, and no more."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

REPO = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def locked(path: str) -> dict[str, str]:
    """The versions in a lock, by name."""
    text = (REPO / path).read_text()
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    found = (re.split(r"[^\w.-]", one)[0].lower() for one in requirements)
    return {re.sub(r"[-_.]+", "-", name) for name in found}


IMAGE = locked("docker/image.lock")
LEFT_OUT = names(
    [
        line
        for line in (REPO / "docker/left-out.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
)


def test_the_image_has_what_the_server_needs_and_traces() -> None:
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"]) | names(extras["otel"]) <= set(IMAGE)


def test_the_image_has_no_emulators_and_no_tools_of_developers() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = names(PROJECT["dependencies"])
    only_there = names(extras["emulators"]) | names(extras["dev"])
    # Pipecat and the SDKs of the vendors need these themselves.
    shared = {"cryptography", "pyyaml", "soundfile", "certifi", "typing-extensions"}
    assert set(IMAGE) & only_there - needed - shared == set()


def test_the_images_have_the_versions_that_are_tested() -> None:
    tested = locked("requirements.lock")
    for lock in ("docker/image.lock", "docker/demo.lock"):
        assert locked(lock).items() <= tested.items()
    assert names(PROJECT["optional-dependencies"]["emulators"]) <= set(locked("docker/demo.lock"))


def test_nothing_is_installed_without_a_hash() -> None:
    for lock in ("docker/image.lock", "docker/demo.lock", "docker/build.lock"):
        entries = re.split(r"\n(?=[a-z0-9.-]+==)", (REPO / lock).read_text())[1:]
        assert entries
        assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    installs = re.findall(r"pip install [^&]*", (REPO / "Dockerfile").read_text())
    assert [
        line for line in installs if "--require-hashes" not in line and ".whl" not in line
    ] == []


def test_the_server_starts_without_what_is_left_out_of_the_image() -> None:
    assert LEFT_OUT
    lock = (REPO / "docker/image.lock").read_text()
    for name in LEFT_OUT & set(IMAGE):
        assert f"{name}=={IMAGE[name]} ; sys_platform == 'never'" in lock
    blocked = f"""
import sys
class LeftOut:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {sorted(LEFT_OUT)!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, LeftOut())
import server.app, server.cli.main, server.cli.serve, server.observability.traces
from server.settings.settings import Settings
server.app.create_app(Settings())
"""
    subprocess.run([sys.executable, "-c", blocked], check=True, cwd=REPO, capture_output=True)
