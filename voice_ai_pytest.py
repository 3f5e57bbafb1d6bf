"""`pytest --scenarios DIR`: every scenario in the YAML files of a folder is a test.

Registered by the package, so that a repository which installs it needs nothing but the option (or
`scenarios = DIR` in its pytest settings). Without either it does nothing.

pytest imports this file in every repository that has the package, so that it is none of `server`, a
name that a repository may have for a package of its own.
"""

import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from server.replay.results import Replay
    from server.replay.scenario import Scenario


# Where the packages of voice-ai-system are, beside this file.
HERE = Path(__file__).resolve().parent
PACKAGES = ("agent", "pipelines", "processors", "server")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("voice-ai", "recorded phone calls")
    says = "Replay the scenarios of this folder (may be given several times)."
    group.addoption("--scenarios", action="append", default=[], metavar="DIR", help=says)
    group.addoption(
        "--scenario-speed",
        choices=("fast", "real"),
        default="fast",
        help="fast: in virtual time (the default); real: as long as the calls last.",
    )
    parser.addini("scenarios", "Folders of scenarios, one a line.", type="paths", default=[])
    says = "Modules with the pipelines of the scenarios; PIPELINES, or .env, by default."
    parser.addini("pipelines", says, type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Collect from the folders, too, when nothing else was named.

    Raises: pytest.UsageError when the scenarios cannot be played here.
    """
    config.addinivalue_line("markers", "scenario: a phone call that is replayed")
    if folders := _folders(config):
        _check_packages(folders)
        _check_extra()
    if config.args_source is not pytest.Config.ArgsSource.ARGS or config.getoption("--scenarios"):
        config.args += [
            str(folder) for folder in _folders(config) if str(folder) not in config.args
        ]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take the scenario files of the named folders."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    if file_path.resolve() not in _scenario_files(parent.config):
        return None
    return ScenarioFile.from_parent(parent, path=file_path)


_FILES = pytest.StashKey[frozenset[Path]]()


def _scenario_files(config: pytest.Config) -> frozenset[Path]:
    """Those in the named folders; YAML that is only there to be included is none."""
    if _FILES not in config.stash:
        folders = [folder for folder in _folders(config) if folder.exists()]
        if not folders:
            return frozenset()
        from server.replay.reading import find_files

        config.stash[_FILES] = frozenset(file.resolve() for file in find_files(folders))
    return config.stash[_FILES]


def _check_packages(folders: list[Path]) -> None:
    """Raises: pytest.UsageError when another package hides one of ours."""
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is None or spec.origin is None or Path(spec.origin).resolve().parents[1] != HERE:
            raise pytest.UsageError(
                f"The scenarios cannot be played: this repository has a package `{name}` of its "
                f"own, which hides the one of voice-ai-system. Play them with `voice-ai replay "
                f"{' '.join(map(str, folders))}`, or rename the package."
            )


def _check_extra() -> None:
    """Raises: pytest.UsageError when a package is missing that the emulators need."""
    try:
        with warnings.catch_warnings():
            # Pipecat imports what Python deprecates.
            warnings.simplefilter("ignore", DeprecationWarning)
            import_module("server.replay.quiet")
            import_module("server.replay.runner")
    except ModuleNotFoundError as error:
        raise pytest.UsageError(
            f"The scenarios cannot be played without the package {error.name!r}. Install it with: "
            "pip install 'voice-ai-system[emulators]'"
        ) from None


def _folders(config: pytest.Config) -> list[Path]:
    given = [
        Path(config.invocation_params.dir, folder) for folder in config.getoption("--scenarios")
    ]
    return [folder.resolve() for folder in [*given, *config.getini("scenarios")]]


class ScenarioFile(pytest.File):
    """One YAML file."""

    def collect(self) -> Iterator["ScenarioItem"]:
        """Its scenarios; a file that cannot be read fails at its line."""
        from server.replay.reading import ScenarioError, read_scenarios

        try:
            scenarios = read_scenarios(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None
        for scenario in scenarios:
            yield ScenarioItem.from_parent(self, name=scenario.name, scenario=scenario)


class ScenarioFailed(Exception):
    """A scenario did not hold."""

    def __init__(self, replay: "Replay") -> None:
        super().__init__(replay.scenario.name)
        self.replay = replay


class ScenarioItem(pytest.Item):
    """One scenario, played once."""

    def __init__(self, *, scenario: "Scenario", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scenario = scenario
        self.add_marker("scenario")

    def runtest(self) -> None:
        """Play it; one of which nothing can be checked is skipped. Raises: ScenarioFailed."""
        from server.replay.player import PlayOptions
        from server.replay.results import Verdict
        from server.replay.runner import RunOptions, play_one
        from server.settings.settings import read_pipelines

        pipelines = tuple(self.config.getini("pipelines")) or read_pipelines()
        options = RunOptions(
            speed=self.config.getoption("--scenario-speed"), play=PlayOptions(pipelines=pipelines)
        )
        replay = play_one(self.scenario, options)
        for left_out in replay.not_checked:
            self.add_report_section("call", "not checked", f"{left_out.where}: {left_out.what}\n")
        if replay.verdict is Verdict.PASSED:
            for note in replay.notes:
                self.add_report_section("call", "note", f"{note}\n")
        if replay.verdict is Verdict.NOT_CHECKED:
            pytest.skip("nothing in it can be checked at a phone")
        if "there is no pipeline" in replay.problem and self.config.getini("pipelines"):
            replay.notes.append(
                "`pipelines` of pytest's settings is used here instead of PIPELINES"
            )
        if replay.verdict is not Verdict.PASSED:
            raise ScenarioFailed(replay)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The lines of the file that did not hold, and what was seen instead."""
        if not isinstance(excinfo.value, ScenarioFailed):
            return super().repr_failure(excinfo, style)
        return told(excinfo.value.replay)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return self.path, self.scenario.where.line - 1, self.name


def told(replay: "Replay") -> str:
    """The lines of the file that did not hold, what was seen instead, and what was said."""
    lines = [f"{f.where}: expected {f.expected}, saw {f.seen}" for f in replay.failures]
    lines += [f"note: {note}" for note in replay.notes]
    lines += [f"the replay broke: {replay.problem}"] if replay.problem else []
    lines += ["", "what was said:"]
    lines += [
        f"  {turn['start_ms'] / 1000:7.2f} s  {turn['who']:<6}  {turn['text']}"
        for turn in replay.transcript
    ]
    return "\n".join(lines)
