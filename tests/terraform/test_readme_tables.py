"""The tables of terraform/README.md agree with the list prices and with the variables."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

TERRAFORM = Path(__file__).parent.parent.parent / "terraform"
README = (TERRAFORM / "README.md").read_text(encoding="utf-8")
MODULES = sorted((TERRAFORM / "modules").iterdir())


def script(root: Path) -> ModuleType:
    """`readme_tables.py` of this terraform folder."""
    spec = importlib.util.spec_from_file_location(
        "readme_tables", root / "scripts" / "readme_tables.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TABLES = script(TERRAFORM)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of terraform/, to change."""
    return Path(shutil.copytree(TERRAFORM, tmp_path / "terraform"))


def costs(text: str, heading: str) -> list[float]:
    """The dollars of a table's rows that are neither totals nor sums."""
    table = text.partition(heading)[2].partition("\n\n")[0]
    return [float(cost) for cost in re.findall(r"\| ([+-]?[0-9.]+) \|$", table, re.MULTILINE)]


def test_the_readme_is_what_the_script_would_write() -> None:
    assert TABLES.filled(README) == README
    assert TABLES.main(["--check"]) == 0


def test_the_rows_add_up_to_the_total_which_is_what_the_text_says() -> None:
    total = re.search(r"^\| \*\*All\*\* .*\*\*([0-9.]+)\*\* \|$", README, re.MULTILINE)
    assert total is not None
    rows = costs(README, "| | What | How much | $ a month |")
    assert len(rows) > 12
    assert sum(rows) == pytest.approx(float(total[1]), abs=0.005 * len(rows))
    # "So $155 a month does buy two regions, if the second is a pilot light"; and only then.
    warm = re.search(r"the second region warm instead of a pilot light \| \+([0-9.]+)", README)
    assert warm is not None
    assert float(total[1]) <= 155 < float(total[1]) + float(warm[1])


def test_every_list_price_counts(copy: Path) -> None:
    prices = copy / "prices" / "2026-11.json"
    source = json.loads(prices.read_text())
    for name, entry in source["prices"].items():
        dearer = {"price": entry["price"] * 2, "per": entry["per"], "source": entry["source"]}
        changed = source | {"prices": source["prices"] | {name: dearer}, "file": prices.name}
        assert TABLES.price_table(changed) != TABLES.price_table(source | {"file": prices.name}), (
            name
        )
        assert entry["source"].startswith("https://")


def test_the_newest_list_of_prices_counts(copy: Path) -> None:
    source = json.loads((copy / "prices" / "2026-11.json").read_text())
    (copy / "prices" / "2027-02.json").write_text(json.dumps(source | {"date": "2027-02-01"}))
    tables = script(copy)
    assert "List prices of 2027-02-01 (`prices/2027-02.json`)" in tables.filled(README)
    assert tables.main(["--check"]) == 1
    assert tables.main([]) == 0
    assert tables.main(["--check"]) == 0


def test_a_larger_default_costs_more(copy: Path) -> None:
    variables = copy / "environments" / "production" / "us-east-1" / "variables.tf"
    text = variables.read_text()
    assert text.count("min = 2") == 1
    variables.write_text(text.replace("min = 2", "min = 3"))
    rows = costs(script(copy).filled(README), "| | What | How much | $ a month |")
    more = sum(rows) - sum(costs(README, "| | What | How much | $ a month |"))
    said = re.search(r"one more app task \| \+([0-9.]+)", README)
    assert said is not None
    assert more == pytest.approx(float(said[1]), abs=0.02)


@pytest.mark.parametrize("environment", TABLES.ENVIRONMENTS)
def test_every_variable_is_in_the_readme_and_is_used(environment: str) -> None:
    folder = TERRAFORM / "environments" / environment
    declared = re.findall(r'^variable "(\w+)"', (folder / "variables.tf").read_text(), re.MULTILINE)
    read = TABLES.read_variables(folder)
    assert [variable.name for variable in read] == declared
    main = (folder / "main.tf").read_text()
    for name in declared:
        assert f"| `{name}` |" in README
        assert f"var.{name}" in main


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_variable_and_output_of_a_module_says_what_it_is(module: Path) -> None:
    assert f"| `{module.name}` |" in README
    for file, kind in (("variables.tf", "variable"), ("outputs.tf", "output")):
        text = (module / file).read_text()
        blocks = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}$', text, re.MULTILINE | re.DOTALL)
        assert len(blocks) == len(re.findall(rf'^{kind} "', text, re.MULTILINE))
        assert [name for name, body in blocks if '  description = "' not in body] == []
    declared = [variable.name for variable in TABLES.read_variables(module)]
    used = "".join(path.read_text() for path in module.glob("*.tf"))
    assert [name for name in declared if f"var.{name}" not in used] == []


def test_scripts_and_files_that_the_readme_names_are_there() -> None:
    for name in set(re.findall(r"terraform/(?:scripts|environments)/[\w./-]+\w", README)):
        path = TERRAFORM.parent / name
        assert path.exists() or path.name == "terraform.tfvars", name
