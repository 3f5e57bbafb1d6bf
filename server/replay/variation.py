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
    """A sentence for each scenario that holds on a good line: where it breaks."""
    verdicts: dict[str, dict[str, list[bool]]] = {}
    for replay in replays:
        name, _, line = replay.scenario.name.partition(SEPARATOR)
        held = replay.verdict in (Verdict.PASSED, Verdict.NOT_CHECKED)
        verdicts.setdefault(name, {}).setdefault(line, []).append(held)
    sentences = []
    for name, lines in verdicts.items():
        if len(lines) < 2:
            continue
        broken = [line for line, held in lines.items() if line and not all(held)]
        if not all(lines.get("", [True])):
            sentences.append(f"{name} breaks on a good line already")
        elif broken:
            sentences.append(f"{name} breaks on {', '.join(broken)}")
        else:
            sentences.append(f"{name} holds on all {len(lines) - 1} lines")
    return sentences
