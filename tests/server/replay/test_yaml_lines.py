"""YAML with lines: values, places, includes, and all that is refused."""

from pathlib import Path

import pytest
import yaml

from server.replay.problems import Findings
from server.replay.scenario import Where
from server.replay.yaml_lines import Node, read_yaml
from tests.server.replay.written import write


def tree(folder: Path, text: str) -> Node:
    findings = Findings()
    node = read_yaml(write(folder, text), findings)
    assert findings.problems == []
    return node


def problems(path: Path) -> list[str]:
    findings = Findings()
    read_yaml(path, findings)
    return [str(problem).removeprefix(f"{path.parent}/") for problem in findings.problems]


def test_whole_numbers_are_plain_decimals_and_dates_stay_texts(tmp_path: Path) -> None:
    given = "{a: 012, b: 0x1f, c: 12, d: 1_000, e: 1983-01-01, f: 1.5, g: 1:30, h: .inf, i: +4}"
    assert tree(tmp_path, given).plain() == {
        "a": "012",
        "b": "0x1f",
        "c": 12,
        "d": 1000,
        "e": "1983-01-01",
        "f": 1.5,
        "g": "1:30",
        "h": ".inf",
        "i": 4,
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, two, 3.5, true, ~, '']\nb:\n  c: |\n    some\n    lines\n",
        "base: &base {x: 1, y: 2}\nmore: {<<: *base, y: 3}\nlist: [*base, *base]",
        "base: [&a {x: 1}, &b {x: 2, z: 3}]\nmore: {<<: [*a, *b]}",
        "!!map {a: !!str 12, b: !!int '7', c: !!seq [!!float '1.5', !!null '']}",
        "",
        "just a text",
    ],
)
def test_the_values_are_those_of_a_yaml_library(tmp_path: Path, text: str) -> None:
    path = tmp_path / "same.yaml"
    path.write_text(text)
    findings = Findings()
    assert read_yaml(path, findings).plain() == yaml.safe_load(text)
    assert findings.problems == []


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    node = tree(
        tmp_path,
        """\
        first: 1
        second:

          - one
          - third: x
        """,
    )
    path = tmp_path / "call.yaml"
    assert isinstance(node.value, dict)
    assert node.value["second"].where == Where(path, 2)
    items = node.value["second"].node.value
    assert isinstance(items, tuple)
    assert [item.where.line for item in items] == [4, 5]
    assert isinstance(items[1].value, dict)
    assert items[1].value["third"].where == Where(path, 5)


def test_an_included_file_keeps_its_own_lines(tmp_path: Path) -> None:
    write(tmp_path, "\n\nsaid: !include ../words/hello.yaml\n", "parts/turn.yaml")
    write(tmp_path, "\n- hello\n", "words/hello.yaml")
    node = tree(tmp_path, "turn: !include parts/turn.yaml\nmore: {<<: !include parts/turn.yaml}")
    assert node.plain() == {"turn": {"said": ["hello"]}, "more": {"said": ["hello"]}}
    assert isinstance(node.value, dict)
    turn = node.value["turn"]
    assert turn.where == Where(tmp_path / "call.yaml", 1)
    assert isinstance(turn.node.value, dict)
    said = turn.node.value["said"]
    assert said.where == Where(tmp_path / "parts" / "turn.yaml", 3)
    assert said.node.where == Where(tmp_path / "words" / "hello.yaml", 2)


def test_files_that_include_each_other_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "\na: !include parts/b.yaml\n")
    write(tmp_path, "\n\nback: !include ../call.yaml\n", "parts/b.yaml")
    assert problems(path) == [
        "parts/b.yaml:3: !include: expected files that do not include each other, "
        "got call.yaml → b.yaml → call.yaml"
    ]


def test_an_error_in_an_included_file_names_its_own_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a: !include parts/b.yaml\nb: !include nowhere.yaml\n")
    write(tmp_path, "fine: 1\nbroken: [1, 2\n", "parts/b.yaml")
    broken, missing = problems(path)
    assert broken.startswith("parts/b.yaml:3: YAML: expected a file that can be parsed, got ")
    assert missing.startswith("call.yaml:2: ")
    assert "No such file" in missing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1, *x]", "call.yaml:1: YAML: expected a value, got an alias of what it stands in"),
        (
            "a: 1\nb: 2\na: 3",
            "call.yaml:3: a: expected each key once, got it again (first in line 1)",
        ),
        ("? [a]\n: 1", "call.yaml:1: YAML: expected a text as key, got a sequence"),
        ("a: {<<: 3}", "call.yaml:1: <<: expected a mapping, got 3"),
        ("\na: !!python/name:os.system x", "call.yaml:2: YAML: expected a value of the type "),
        ("a: !own [1]", "call.yaml:1: !own: expected a plain list or mapping, got this tag"),
        ("a: !!int twelve", "call.yaml:1: YAML: expected a value of the type int, got 'twelve'"),
        ("a: !!bool maybe", "call.yaml:1: YAML: expected a value of the type bool, got 'maybe'"),
        ("a: " + "9" * 5000, "call.yaml:1: YAML: expected a value of the type int"),
        ('a: "\\ud800"', "call.yaml:1: YAML: expected characters of Unicode"),
        ('a: "\\0"', "call.yaml:1: YAML: expected characters of Unicode"),
        ('a: 1\nb: "\\UFFFFFFFF"', "call.yaml:2: YAML: expected a file that can be parsed"),
        ("a: 1\n---\nb: 2", "call.yaml:2: YAML: expected a file that can be parsed"),
        ("a: *gone", "call.yaml:1: YAML: expected a file that can be parsed"),
        ("a: b: c", "call.yaml:1: YAML: expected a file that can be parsed"),
        ("a: 1\nb: \x07", "call.yaml:2: YAML: expected a file that can be parsed"),
        ("[" * 100 + "]" * 100, "call.yaml:1: YAML: expected at most 40 levels, got more"),
        (
            "[" * 20_000,
            "call.yaml:1: YAML: expected a file that can be parsed, got brackets too deep",
        ),
        ("a: !include {b: c}", "call.yaml:1: !include: expected a plain list or mapping"),
        ('a: !include "."', "call.yaml:1: "),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "call.yaml"
    path.write_text(text, encoding="utf-8")
    found = problems(path)
    assert len(found) == 1
    assert found[0].startswith(said)


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "call.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    assert problems(path) == [
        "call.yaml:2: YAML: expected a file that can be parsed, "
        "got bytes that are no UTF-8: invalid start byte"
    ]


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path = write(tmp_path, "\n".join(lines))
    assert problems(path)[0] == "call.yaml:5: YAML: expected at most 50000 values, got more"
