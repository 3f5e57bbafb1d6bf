"""Variations of scenarios: each is played on the same line in other conditions (`--vary line`)."""

from collections.abc import Sequence
from dataclasses import replace

from server.emulators.twilio import LineConditions
from server.replay.results import Replay, Verdict
from server.replay.scenario import Scenario

SEPARATOR = " on "
# Conditions that people call from every day: a scenario should hold in all of them.
LINES: dict[str, LineConditions] = {
    "a soft line": LineConditions(level_db=-10),
    "two voices": LineConditions(second_voice_db=20),
    "a speakerphone": LineConditions(echo_db=-25),
    "jitter": LineConditions(jitter_ms=60),
    "loss": LineConditions(loss=0.01),
    "a stall": LineConditions(stall_at_ms=2_500),
    "two codecs": LineConditions(second_codec=True),
}
NOISE, NOISE_SNR_DB = "a noisy line", 20.0


def varied(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """Each scenario as it is, and under all conditions; those without a person only as they are."""
    found: list[Scenario] = []
    for scenario in scenarios:
        found.append(scenario)
        if scenario.cassette is not None or scenario.call.answer != "person":
            continue
        noisy = replace(scenario.call, noise_snr_db=NOISE_SNR_DB)
        found.append(replace(scenario, name=f"{scenario.name}{SEPARATOR}{NOISE}", call=noisy))
        found += [
            replace(scenario, name=f"{scenario.name}{SEPARATOR}{name}", line=conditions)
            for name, conditions in LINES.items()
        ]
    return found


def breaking(replays: Sequence[Replay]) -> list[str]:
    """A sentence for each condition: which scenarios that hold on a good line break on it."""
    verdicts: dict[str, dict[str, bool]] = {}
    for replay in replays:
        name, _, line = replay.scenario.name.partition(SEPARATOR)
        held = replay.verdict in (Verdict.PASSED, Verdict.NOT_CHECKED)
        of_name = verdicts.setdefault(name, {})
        of_name[line] = of_name.get(line, True) and held
    varied_ones = {name: lines for name, lines in verdicts.items() if len(lines) > 1}
    good = {name: lines for name, lines in varied_ones.items() if lines.get("", True)}
    sentences = []
    if already := [name for name in varied_ones if name not in good]:
        sentences.append(f"on a good line already: {_broken(already, len(varied_ones))}")
    for line in dict.fromkeys(line for lines in good.values() for line in lines if line):
        broken = [name for name, lines in good.items() if not lines.get(line, True)]
        sentences.append(f"on {line}: {_broken(broken, len(good))}")
    return sentences


def _broken(names: Sequence[str], of: int) -> str:
    if not names:
        return "all hold"
    return f"{len(names)} of {of} {'breaks' if of == 1 else 'break'}: {', '.join(names)}"
