"""`voice-ai init`: a repository whose tests pass as they are."""

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest
from typer.testing import CliRunner

# pytester forgets what is first imported in its runs, and cryptography cannot be imported twice.
import server.replay.runner  # noqa: F401
from pipelines.call import catalogue
from server.cli.main import app
from server.scaffold.new_repository import RepositoryError, make_repository, package_of

pytest_plugins = ["pytester"]
REPO = Path(__file__).parents[3]
WORKFLOW = ".github/workflows/tests.yaml"
MORE = """
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
MORE = PipelineDefinition(name="more", steps=PHONE_CALL.steps)
"""
MORE_SCENARIO = "call: {pipeline: more, answer: busy, ring_ms: 200}\noutcome: {status: busy}\n"


def test_its_tests_pass_at_once(pytester: pytest.Pytester) -> None:
    made = CliRunner().invoke(app, ["init", "corner-bakery"])
    assert made.exit_code == 0, made.output
    assert "corner-bakery/corner_bakery/calls.py" in made.output
    folder = pytester.path / "corner-bakery"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {".env", ".env.example", WORKFLOW, "README.md"} < files
    for file in files:
        text = (folder / file).read_text()
        assert "my-agent" not in text
        assert "my_agent" not in text
    # A second module of pipelines is named in one place, which its tests read.
    (folder / "corner_bakery" / "more_calls.py").write_text(MORE)
    (folder / "scenarios" / "more.yaml").write_text(MORE_SCENARIO)
    settings = (folder / ".env").read_text()
    more = "PIPELINES=corner_bakery.calls,corner_bakery.more_calls"
    (folder / ".env").write_text(settings.replace("PIPELINES=corner_bakery.calls", more))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path])
        # Its tests are a package of the same name as these.
        for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
            patch.delitem(sys.modules, name)
        result = pytester.runpytest_inprocess("--rootdir", str(folder), "-p", "no:cacheprovider")
    catalogue.use(())
    result.assert_outcomes(passed=4)
    assert "scenarios/booking.yaml" in result.stdout.str()
    # Without it, pytest-asyncio warns.
    assert "asyncio_default_fixture_loop_scope=function" in result.stdout.str()
    line = "git+https://git.example.com/you/voice-ai-system.git@main"
    assert all(line in (folder / file).read_text() for file in (WORKFLOW, "README.md"))


@pytest.mark.long
def test_from_the_wheel_in_an_environment_of_its_own(tmp_path: Path) -> None:
    def run(*words: str | Path, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=REPO)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    install = (sys.executable, "-m", "pip", "--python", python, "install", "--no-index")
    run(*install, "--no-deps", wheel)
    # What it depends on is what these tests run with; packages that are installed by a link,
    # such as this repository, are not among them.
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    here = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{here}\n")
    said = run(python, "-c", "import server; print(server.__file__)")
    assert Path(said.strip()).is_relative_to(site)
    run(python.parent / "voice-ai", "init", "my-agent")
    repository = tmp_path / "my-agent"
    assert "3 passed" in run(python, "-m", "pytest", cwd=repository)
    assert "restaurant" in run(python.parent / "voice-ai", "pipelines", cwd=repository)


@pytest.mark.parametrize(
    ("folder", "next_line"),
    [("my-agent", "cd my-agent"), ("My Agent", "cd 'My Agent'"), (".", "pytest")],
)
def test_what_is_printed_next_can_be_pasted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, next_line: str
) -> None:
    (tmp_path / "here-agent").mkdir()
    monkeypatch.chdir(tmp_path / "here-agent")
    made = CliRunner().invoke(app, ["init", folder])
    assert made.exit_code == 0, made.output
    assert made.output.partition("Next:\n")[2].splitlines()[0].strip() == next_line


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "corner-bakery"
    (folder / ".git").mkdir(parents=True)
    make_repository(folder)
    (folder / "README.md").write_text("mine")
    with pytest.raises(RepositoryError, match=r"Already there, and nothing was written: .*README"):
        make_repository(folder)
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("1st-agent", "cannot be the name of a Python package"),
        ("class", "cannot be the name of a Python package"),
        ("größe!", "cannot be the name of a Python package"),
        ("agent", "a Python package 'agent' already"),
        ("server", "a Python package 'server' already"),
        ("json", "a Python package 'json' already"),
        ("京都", "cannot be the name of a project"),
    ],
)
def test_a_name_that_no_package_can_have_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(RepositoryError, match=says):
        make_repository(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("folder", "project"),
    [("my-agent", "my-agent"), ("My Agent", "My-Agent"), ("Café_5. Agent", "Cafe_5.-Agent")],
)
def test_the_project_has_a_name_that_can_be_installed(
    tmp_path: Path, folder: str, project: str
) -> None:
    make_repository(tmp_path / folder)
    written = tomllib.loads((tmp_path / folder / "pyproject.toml").read_text())
    assert written["project"]["name"] == project
    # https://packaging.python.org/en/latest/specifications/name-normalization/
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", written["project"]["name"])


def test_the_package_is_named_after_the_repository() -> None:
    assert package_of("Corner-Bakery.calls") == "corner_bakery_calls"
