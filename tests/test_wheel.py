"""The wheel, installed beside repositories of other people; `make test-long` builds it."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parent.parent
SCENARIO = "call: {answer: busy, ring_ms: 200}\noutcome:\n  status: busy\n"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with the wheel and what it needs, and without this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPO, check=True, capture_output=True)
    (wheel,) = folder.glob("voice_ai_system-*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    places = {"base": str(environment), "platbase": str(environment)}
    site_packages = Path(sysconfig.get_path("purelib", "venv", vars=places))
    with zipfile.ZipFile(wheel) as files:
        files.extractall(site_packages)
    # A path that such a file names has its own `.pth` files left out, this checkout's among them.
    (site_packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin" / "python"


def run_pytest(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m pytest` in a repository that has a test of its own and a scenario."""
    (folder / "test_own.py").write_text("def test_own() -> None:\n    pass\n")
    (folder / "calls").mkdir(exist_ok=True)
    (folder / "calls" / "holds.yaml").write_text(SCENARIO)
    return subprocess.run(
        [python, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["server", "agent"])
def test_pytest_works_beside_a_package_of_the_same_name_and_a_clash_is_said(
    python: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    (tmp_path / "test_theirs.py").write_text(
        f"import {name}\n\n\ndef test_theirs() -> None:\n    assert {name}.THEIRS\n"
    )
    alone = run_pytest(python, tmp_path)
    assert "2 passed" in alone.stdout
    clash = run_pytest(python, tmp_path, "--scenarios", "calls")
    assert clash.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"a package `{name}` of its own" in clash.stderr
    assert "voice-ai replay" in clash.stderr
    assert "Traceback" not in clash.stdout + clash.stderr


def test_the_wheel_has_all_that_a_scenario_needs(python: Path, tmp_path: Path) -> None:
    code = "import server; print(server.__file__)"
    where = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(REPO) not in where.stdout
    played = run_pytest(python, tmp_path, "--scenarios", "calls")
    assert "2 passed" in played.stdout, played.stdout + played.stderr
