#!/usr/bin/env python3
"""Writes the tables of terraform/README.md: the price of the defaults, and every variable.

    python terraform/scripts/readme_tables.py            # rewrites the README
    python terraform/scripts/readme_tables.py --check    # exit code 1 when it would change it

Prices come from the newest file in terraform/prices; sizes and numbers of tasks from the variables'
defaults. Each table stands between two comments in the README.
"""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TERRAFORM = Path(__file__).resolve().parent.parent
README = TERRAFORM / "README.md"
ENVIRONMENTS = ("production/us-east-1", "production/us-west-2", "staging")
# terraform fmt ends a block with a brace in the first column.
_BLOCK = re.compile(r'^variable "(\w+)" \{\n(.*?)^\}$', re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (description|type|default) += (.*)$", re.MULTILINE)
_PAIR = re.compile(r'(\w+) = ("[^"]*"|[^,\s}]+)')


@dataclass(frozen=True)
class Variable:
    """One `variable` block, as it is written; `default` None: it has to be given."""

    name: str
    description: str
    type: str
    default: str | None

    @property
    def fields(self) -> dict[str, Any]:
        """The default of an object variable, by field."""
        pairs = _PAIR.findall(self.default or "")
        return {name: json.loads(value) for name, value in pairs}


def read_variables(folder: Path) -> list[Variable]:
    """The variables of a folder, as they are ordered there."""
    found = []
    for name, body in _BLOCK.findall((folder / "variables.tf").read_text(encoding="utf-8")):
        fields = dict(_FIELD.findall(body))
        said = json.loads(fields["description"])
        found.append(Variable(name, said, fields["type"], fields.get("default")))
    return found


def read_prices(folder: Path = TERRAFORM / "prices") -> dict[str, Any]:
    """The newest file of list prices."""
    newest = max(folder.glob("*.json"))
    return dict(json.loads(newest.read_text(encoding="utf-8"))) | {"file": newest.name}


class Bill:
    """What the defaults of an environment cost a month, in dollars."""

    def __init__(self, source: dict[str, Any], environment: str) -> None:
        self._prices = {name: entry["price"] for name, entry in source["prices"].items()}
        self._hours, self._use, self._free = source["hours"], source["use"], source["free"]
        defaults = read_variables(TERRAFORM / "environments" / environment)
        self._defaults = {variable.name: variable for variable in defaults}

    def lines(self, mode: str) -> dict[str, tuple[str, float]]:
        """What is bought, with how much of it, and its price; `mode` as in the module `region`."""
        active = mode == "active"
        database = self._defaults["database"].fields
        lines = {"load balancer": ("1", self._hourly("alb"))}
        addresses = 2
        if active:
            app, worker = self._defaults["app"].fields, self._defaults["worker"].fields
            workers = worker["tasks"] if self._default("temporal") != "none" else 0
            addresses += app["min"] + workers
            lines["app"] = (_tasks(app["min"], app), app["min"] * self._task(app))
            share = self._prices["fargate_spot_share"] if worker["spot"] else 1
            if workers:
                what = _tasks(workers, worker) + (", Spot" if worker["spot"] else "")
                lines["worker"] = (what, workers * self._task(worker) * share)
            cache = self._default("cache_class")
            lines["Valkey"] = (cache, self._hourly(cache))
        lines["public IPv4 addresses"] = (str(addresses), addresses * self._hourly("ipv4"))
        storage = database["storage_gb"] * self._prices["rds_gb"]
        instances = 2 if database["multi_az"] else 1
        lines["PostgreSQL"] = (
            f"{database['class']}, {database['storage_gb']} GB" + ("" if active else ", a copy"),
            instances * (self._hourly(database["class"]) + storage),
        )
        lines["secret, images"] = (
            f"1, {self._use['images_gb']} GB",
            self._prices["secret"] + self._use["images_gb"] * self._prices["ecr_gb"],
        )
        return lines

    def traffic(self) -> dict[str, tuple[str, float]]:
        """What the calls of a month cost beside the machines, both regions together."""
        use, prices = self._use, self._prices
        minutes = use["calls"] * use["minutes_per_call"]
        through = minutes * use["mb_per_minute_through_load_balancer"] / 1000
        out = minutes * use["mb_per_minute_out"] / 1000
        logs = use["calls"] * use["log_kb_per_call"] / 1e6
        alarms = max(0, sum(use["alarms"].values()) - self._free["alarms"])
        return {
            "load balancer's traffic": (f"{through:.0f} GB", through * prices["lcu"]),
            "traffic to Twilio and Gemini": (
                f"{out:.0f} GB",
                max(0, out - self._free["egress_gb"]) * prices["egress_gb"],
            ),
            "logs": (f"{logs:.1f} GB", logs * prices["logs_gb"]),
            "alarms, zone": (
                f"{alarms} beyond the free ones, 1",
                alarms * prices["alarm"] + prices["zone"],
            ),
        }

    def temporal_cloud(self) -> tuple[str, float]:
        """Temporal Cloud's actions, with its support."""
        actions = self._use["calls"] * self._use["actions_per_call"]
        cost = actions / 1e6 * self._prices["temporal_actions"]
        return f"{actions:,} actions", cost * (1 + self._prices["temporal_support"])

    def changes(self) -> Iterable[tuple[str, float]]:
        """Other choices, each with what it adds."""
        app, worker = self._defaults["app"].fields, self._defaults["worker"].fields
        database = self._defaults["database"].fields
        tasks = app["min"] + worker["tasks"]
        out = (
            self._use["calls"]
            * self._use["minutes_per_call"]
            * self._use["mb_per_minute_out"]
            / 1000
        )
        nat = self._hourly("nat_gateway") + out * self._prices["nat_gb"]
        # The gateway's own address comes in place of those of the tasks.
        yield (
            "tasks in private subnets (`nat_gateway = true`)",
            nat + (1 - tasks) * self._hourly("ipv4"),
        )
        warm = sum(cost for _, cost in self.lines("active").values())
        light = sum(cost for _, cost in self.lines("pilot_light").values())
        yield "the second region warm instead of a pilot light", warm - light
        standby = self._hourly(database["class"]) + database["storage_gb"] * self._prices["rds_gb"]
        yield "a standby of PostgreSQL in a second zone (`multi_az = true`)", standby
        yield "one more app task", self._task(app) + self._hourly("ipv4")
        spot = worker["tasks"] * self._task(worker) * (1 - self._prices["fargate_spot_share"])
        yield "workers not on Spot", spot
        server = self._task({"cpu": 512, "memory": 1024}) + self._hourly("ipv4")
        yield (
            '`temporal = "self_hosted"` in place of Temporal Cloud',
            server - self.temporal_cloud()[1],
        )
        yield (
            "AWS Global Accelerator in front (not in this Terraform)",
            self._hourly("global_accelerator"),
        )

    def _default(self, name: str) -> str:
        return str(json.loads(self._defaults[name].default or '""'))

    def _hourly(self, name: str) -> float:
        return float(self._prices[name] * self._hours)

    def _task(self, size: dict[str, Any]) -> float:
        cpu, memory = size["cpu"] / 1024, size["memory"] / 1024
        return cpu * self._hourly("fargate_arm_vcpu") + memory * self._hourly("fargate_arm_gb")


def _tasks(count: int, size: dict[str, Any]) -> str:
    return f"{count} × {size['cpu'] / 1024:g} vCPU, {size['memory'] / 1024:g} GB"


def price_table(source: dict[str, Any]) -> str:
    """Two tables in Markdown: the defaults of production, and what other choices add."""
    east = Bill(source, "production/us-east-1")
    west = Bill(source, "production/us-west-2")
    use = source["use"]
    parts = {
        "us-east-1": east.lines("active"),
        "us-west-2, pilot light": west.lines("pilot_light"),
        f"{use['calls']:,} calls of {use['minutes_per_call']} minutes": east.traffic(),
        "Temporal Cloud": {"actions": east.temporal_cloud()},
    }
    rows = [
        f"List prices of {source['date']} (`prices/{source['file']}`), {source['regions']}; "
        f"a month of {source['hours']} hours.",
        "",
        "| | What | How much | $ a month |",
        "|---|---|---|---:|",
    ]
    total = 0.0
    for part, lines in parts.items():
        for index, (what, (amount, cost)) in enumerate(lines.items()):
            rows.append(f"| {part if index == 0 else ''} | {what} | {amount} | {cost:.2f} |")
        subtotal = sum(cost for _, cost in lines.values())
        total += subtotal
        if len(lines) > 1:
            rows.append(f"| | | *together* | *{subtotal:.2f}* |")
    rows += [f"| **All** | | | **{total:.2f}** |", ""]
    staging = sum(cost for _, cost in Bill(source, "staging").lines("active").values())
    rows += ["| Another choice | $ a month more |", "|---|---:|"]
    rows += [f"| {what} | {cost:+.2f} |" for what, cost in east.changes()]
    rows += [f"| staging, as it is, without calls | {staging:+.2f} |"]
    return "\n".join(rows)


def variable_table() -> str:
    """One table in Markdown with the variables of all environments."""
    by_name: dict[str, dict[str, Variable]] = {}
    for environment in ENVIRONMENTS:
        for variable in read_variables(TERRAFORM / "environments" / environment):
            by_name.setdefault(variable.name, {})[environment] = variable
    rows = ["| Variable | Default | What it is |", "|---|---|---|"]
    for name, variables in by_name.items():
        first = next(iter(variables.values()))
        where = "" if len(variables) == len(ENVIRONMENTS) else f" Only in {', '.join(variables)}."
        rows.append(f"| `{name}` | {_defaults(variables)} | {_cell(first.description)}{where} |")
    return "\n".join(rows)


def _defaults(variables: dict[str, Variable]) -> str:
    said: dict[str, list[str]] = {}
    for environment, variable in variables.items():
        text = "**needed**" if variable.default is None else f"`{variable.default}`"
        said.setdefault(text, []).append(environment)
    if len(said) == 1:
        return _cell(next(iter(said)))
    return _cell("<br>".join(f"{', '.join(where)}: {text}" for text, where in said.items()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def filled(text: str) -> str:
    """The README's text with both tables written anew."""
    for name, table in (("prices", price_table(read_prices())), ("variables", variable_table())):
        begin, end = f"<!-- {name}: scripts/readme_tables.py -->", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"README.md needs the comments {begin} and {end}, once each.")
        head, _, rest = text.partition(begin)
        text = f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"
    return text


def main(arguments: list[str]) -> int:
    """Rewrite the README, or with `--check` say whether it is as it would be written."""
    text = README.read_text(encoding="utf-8")
    new = filled(text)
    if arguments == ["--check"]:
        if text != new:
            sys.stderr.write("terraform/README.md: run python terraform/scripts/readme_tables.py\n")
        return int(text != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
