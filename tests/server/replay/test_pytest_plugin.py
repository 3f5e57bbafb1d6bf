"""`pytest --scenarios DIR` in a repository of one's own."""

import sys
from pathlib import Path

import pytest

# pytester forgets what is first imported in its runs, and cryptography cannot be imported twice.
import server.replay.runner  # noqa: F401
from pipelines.call import catalogue

pytest_plugins = ["pytester"]

BUSY = "call: {answer: busy, ring_ms: 200}\noutcome:\n  status: %s\n"
NOT_CHECKED = "persona: somebody\ngoal: to complain\n"


@pytest.fixture
def repo(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A repository with calls that hold and fail, and a test of its own."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    calls = pytester.mkdir("calls")
    (calls / "holds.yaml").write_text(BUSY % "busy")
    (calls / "fails.yaml").write_text(BUSY % "completed")
    (calls / "shared.yaml").write_text("answer: busy\nring_ms: 200\n")
    (calls / "includes.yaml").write_text("call: !include shared.yaml\noutcome: {status: busy}\n")
    other = pytester.mkdir("other")
    (other / "elsewhere.yaml").write_text(BUSY % "completed")
    pytester.makepyfile(test_own="def test_own() -> None:\n    pass\n")
    return pytester


def run(repo: pytest.Pytester, *words: str) -> pytest.RunResult:
    # At the end of a run unraisable exceptions are looked for by several garbage collections.
    return repo.runpytest_inprocess(
        "-p", "no:cacheprovider", "-p", "no:unraisableexception", *words
    )


def test_each_scenario_is_a_test_and_a_failure_names_its_line(repo: pytest.Pytester) -> None:
    result = run(repo, "--scenarios", "calls", "-m", "scenario")
    result.assert_outcomes(passed=2, failed=1, deselected=1)
    said = result.stdout.str()
    assert "fails.yaml:3: expected status completed, saw status busy" in said
    assert "FAILED calls/fails.yaml::fails" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("named", [[], ["test_own.py"]])
def test_a_folder_comes_beside_the_other_tests(repo: pytest.Pytester, named: list[str]) -> None:
    run(repo, "--scenarios", "calls", *named).assert_outcomes(passed=3, failed=1)


@pytest.mark.long
def test_the_folder_may_stand_in_the_settings(repo: pytest.Pytester) -> None:
    repo.makeini("[pytest]\nscenarios = calls\ntestpaths = .\n")
    run(repo).assert_outcomes(passed=3, failed=1)
    # Who names tests wants those alone.
    run(repo, "test_own.py").assert_outcomes(passed=1)
    run(repo, "calls/holds.yaml").assert_outcomes(passed=1)


def test_a_single_file_is_a_folder_too(repo: pytest.Pytester) -> None:
    run(repo, "--scenarios", "calls/holds.yaml").assert_outcomes(passed=2)


def test_without_the_option_no_yaml_is_looked_at(repo: pytest.Pytester) -> None:
    run(repo).assert_outcomes(passed=1)


@pytest.mark.long
def test_without_its_extra_the_plugin_is_silent_until_it_is_asked(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{pytester.mkdir('hidden')}:{Path(__file__).parents[3]}")
    missing = 'raise ModuleNotFoundError("not here", name="espeakng_loader")'
    (pytester.path / "hidden" / "espeakng_loader.py").write_text(missing)
    (pytester.mkdir("data") / "x.yaml").write_text("a: 1\n")
    pytester.makepyfile(test_own="def test_own() -> None:\n    pass\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    asked = pytester.runpytest_subprocess("--scenarios", "data")
    assert asked.ret == pytest.ExitCode.USAGE_ERROR
    said = asked.stdout.str() + asked.stderr.str()
    assert "without the package 'espeakng_loader'" in said
    assert "pip install 'voice-ai-system[emulators]'" in said
    assert "Traceback" not in said


MINE = """
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
MINE = PipelineDefinition(name="mine", steps=PHONE_CALL.steps)
"""


def test_scenarios_may_use_pipelines_of_the_repository(repo: pytest.Pytester) -> None:
    (repo.mkdir("own") / "mine_calls.py").write_text(MINE)
    (repo.path / "calls" / "mine.yaml").write_text(
        "call: {pipeline: mine, answer: busy, ring_ms: 200}\noutcome: {status: busy}\n"
    )
    repo.makeini("[pytest]\npipelines = mine_calls\npythonpath = own\n")
    run(repo, "--scenarios", "calls/mine.yaml").assert_outcomes(passed=2)
    repo.makeini("[pytest]\n")
    (repo.path / ".env").write_text("PIPELINES=./own/mine_calls.py\n")
    run(repo, "--scenarios", "calls/mine.yaml").assert_outcomes(passed=2)
    catalogue.use(())


PIZZA = """
from pipelines.definition import PipelineDefinition
from pipelines.phone_call import PHONE_CALL
async def order_pizza() -> str:
    \"\"\"Order a pizza.\"\"\"
    raise KeyError("oven")
PIZZA = PipelineDefinition(name="pizza", steps=PHONE_CALL.steps, tools=[order_pizza])
"""
ORDER = """
call: {pipeline: pizza, greeting: "", then: hangs_up}
gemini: {rules: [{hears: "Pizza please", call: {name: order_pizza}}]}
turns: [{user: "Pizza please", expect: [{event: %s, within_ms: 4000}]}]
"""


def test_a_tool_that_raised_is_told_of_calls_that_failed_and_of_those_that_passed(
    repo: pytest.Pytester,
) -> None:
    (repo.path / "pizza_calls.py").write_text(PIZZA)
    (repo.path / ".env").write_text("PIPELINES=./pizza_calls.py\n")
    (repo.path / "calls" / "order_1.yaml").write_text(ORDER % "function_call_stopped")
    (repo.path / "calls" / "order_2.yaml").write_text(ORDER % "response")
    result = run(repo, "--scenarios", "calls", "-k", "order", "-rP")
    result.assert_outcomes(passed=1, failed=1, deselected=4)
    why = "tool order_pizza failed: KeyError: 'oven' (pizza_calls.py:6)"
    failed, _, passed = result.stdout.str().partition("= PASSES =")
    assert f"note: {why}" in failed
    assert why in passed
    catalogue.use(())


def test_a_file_that_cannot_be_read_is_an_error_at_its_line(repo: pytest.Pytester) -> None:
    (repo.path / "calls" / "wrong.yaml").write_text("turns:\n  - usr: Hello\n")
    result = run(repo, "--scenarios", "calls", "--continue-on-collection-errors")
    result.assert_outcomes(passed=3, failed=1, errors=1)
    assert (
        "wrong.yaml:2: turns[0].usr: there is no key `usr`; did you mean `user`?"
        in result.stdout.str()
    )


def test_what_cannot_be_checked_is_skipped_and_said(repo: pytest.Pytester) -> None:
    (repo.path / "calls" / "persona.yaml").write_text(NOT_CHECKED)
    result = run(repo, "--scenarios", "calls", "-rs", "-k", "persona")
    result.assert_outcomes(skipped=1, deselected=4)
    assert "nothing in it can be checked at a phone" in result.stdout.str()


def test_a_call_that_the_server_refuses_says_so(repo: pytest.Pytester) -> None:
    (repo.path / "calls" / "refused.yaml").write_text(
        "call: {pipeline: nowhere}\noutcome: {status: busy}\n"
    )
    result = run(repo, "--scenarios", "calls/refused.yaml")
    result.assert_outcomes(failed=1, passed=1)
    said = result.stdout.str()
    assert "the replay broke: POST /calls: 422" in said
    assert "note: " not in said
    (repo.mkdir("own") / "others_calls.py").write_text(MINE)
    repo.makeini("[pytest]\npipelines = others_calls\npythonpath = own\n")
    said = run(repo, "--scenarios", "calls/refused.yaml").stdout.str()
    assert "note: `pipelines` of pytest's settings is used here instead of PIPELINES" in said
    catalogue.use(())


# One process shows that scenarios and what they say travel; each further one imports everything.
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.long)])
@pytest.mark.long
def test_scenarios_are_spread_over_processes(
    repo: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, processes: str
) -> None:
    only_ours(monkeypatch)
    result = repo.runpytest_subprocess("-p", "xdist", "-n", processes, "--scenarios", "calls")
    result.assert_outcomes(passed=3, failed=1)
    assert "fails.yaml:3: expected status completed" in result.stdout.str()


def only_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What starts from now on loads our plugin, and none of the others, which take seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "voice_ai_pytest")


def test_scenarios_are_chosen_by_mark_and_name(repo: pytest.Pytester) -> None:
    run(repo, "--scenarios", "calls", "-m", "scenario", "-k", "holds").assert_outcomes(
        passed=1, deselected=3
    )


def test_a_folder_that_is_not_there_is_said(repo: pytest.Pytester) -> None:
    result = run(repo, "--scenarios", "nowhere")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "nowhere" in result.stderr.str() + result.stdout.str()


PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
NAMES = ["agent", "pipelines", "processors", "server"]


def test_a_repository_may_have_packages_of_the_same_names(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in NAMES:
        pytester.mkpydir(name)
    (pytester.path / "values.yaml").write_text("a: 1\n")
    imports = "".join(f"import {name}\n" for name in NAMES)
    files = "".join(f"    assert {name}.__file__.startswith(__file__[:-11])\n" for name in NAMES)
    pytester.makepyfile(test_own=f"{imports}\n\ndef test_own() -> None:\n{files}")
    pytester.run(*PYTEST).assert_outcomes(passed=1)


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_hides_one_of_ours_is_said(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    only_ours(monkeypatch)
    pytester.mkpydir(name)
    (pytester.path / "calls").mkdir()
    (pytester.path / "calls" / "holds.yaml").write_text(BUSY % "busy")
    clash = pytester.run(*PYTEST, "--scenarios", "calls")
    assert clash.ret == pytest.ExitCode.USAGE_ERROR
    said = clash.stdout.str() + clash.stderr.str()
    assert f"a package `{name}` of its own" in said
    assert "voice-ai replay" in said
    assert "Traceback" not in said
