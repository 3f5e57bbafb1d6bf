"""Plays one scenario through the wire, and says what came of it."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from server.emulators.speech import voice_for
from server.emulators.twilio import (
    Answer,
    Behaviour,
    Busy,
    EmulatedCall,
    Invalid,
    NoAnswer,
    Person,
    Rejected,
    Unreachable,
    Voicemail,
)
from server.replay.caller import ScriptedCaller
from server.replay.cassettes.playing import play_cassette
from server.replay.events import Timeline
from server.replay.faults import cause
from server.replay.hearing import Hearing
from server.replay.notes import still_asked, tool_failures, unplayed
from server.replay.outcome import check_outcome
from server.replay.results import Failure, Replay, Sound, Verdict
from server.replay.scenario import Outcome, Scenario
from server.replay.server_record import ReplayBroken, events_of, id_of, result_of
from server.replay.stage import RemoteServer, Stage, own_stage, remote_stage
from server.replay.tasks import stopped
from server.replay.unwatched import unwatched

# A call that nobody ends: no scenario is meant to last that long.
LONGEST_CALL_SECS = 1_800.0
WATCH_SECS = 0.25
# A server dials at once; one that uses another Twilio never does.
DIALS_WITHIN_SECS = 30.0
CALLER_PITCH = "+f3"


@dataclass(frozen=True, slots=True)
class PlayOptions:
    """How scenarios are played.

    `real_model_key`: with the real Gemini, by this key. `server`: by an instance that runs.
    `pipelines`: the modules and folders of PIPELINES.
    """

    real_model_key: str | None = None
    server: RemoteServer | None = None
    pipelines: tuple[str, ...] = ()
    # Of cassettes that are encrypted, and a folder where each call's own cassette is left.
    cassette_key: bytes | None = None
    cassettes: Path | None = None


async def play(scenario: Scenario, options: PlayOptions | None = None) -> Replay:
    """Play a scenario once, on a stage of its own. Never raises: what breaks is in the replay."""
    options = options or PlayOptions()
    if scenario.cassette is not None:
        return await play_cassette(scenario, options.cassette_key)
    began = time.perf_counter()
    replay = Replay(scenario, Verdict.BROKEN)
    patience = asyncio.timeout(LONGEST_CALL_SECS)
    try:
        async with patience:
            await _Playing(scenario, options, replay).run()
    except ReplayBroken as problem:
        replay.problem = str(problem)
    except Exception as problem:
        replay.problem = (
            f"the call did not end within {LONGEST_CALL_SECS:.0f} s"
            if patience.expired()
            else f"{type(problem).__name__}: {problem}"
        )
    replay.took_secs = time.perf_counter() - began
    return replay


class _Playing:
    def __init__(self, scenario: Scenario, options: PlayOptions, replay: Replay) -> None:
        if options.server is not None or options.real_model_key is not None:
            scenario = unwatched(scenario, by_other_server=options.server is not None)
        replay.not_checked += scenario.not_checked
        self._scenario = scenario
        self._options = options
        self._replay = replay
        self._timeline = Timeline()
        self._uncaused = list(scenario.model.faults)
        self._voice = scenario.call.voice or voice_for(self._language()) + CALLER_PITCH
        self._caller = ScriptedCaller(scenario, self._timeline, self._voice)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._stage() as ready:
            began = loop.time()
            hearing = Hearing(self._scenario, ready, self._timeline, self._caller.current_turn)
            self._timeline.on_reply = hearing.reply_heard
            beside = [asyncio.create_task(self._cause_faults(ready), name="faults")]
            if ready.gemini is None:
                beside.append(asyncio.create_task(self._watch_record(ready), name="record"))
            try:
                call = await self._have_call(ready)
                self._replay.call_secs = loop.time() - began
                await hearing.all_understood()
                self._timeline.end()
                await hearing.all_understood()
            finally:
                self._timeline.end()
                problems = [*await stopped(beside), *await hearing.stop()]
            if problems:
                raise problems[0]
            await self._judge(ready, call, hearing)

    def _stage(self) -> AbstractAsyncContextManager[Stage]:
        if self._options.server is not None:
            return remote_stage(
                self._scenario, self._options.server, on_moment=self._timeline.phone
            )
        return own_stage(
            self._scenario,
            on_moment=self._timeline.phone,
            on_event=self._timeline.model,
            real_model_key=self._options.real_model_key,
            pipelines=self._options.pipelines,
            cassettes=self._options.cassettes,
        )

    async def _watch_record(self, stage: Stage) -> None:
        """Where the model cannot be watched, the server's events tell what it calls."""
        known = 0
        while True:
            await asyncio.sleep(WATCH_SECS)
            if not self._replay.call_id and stage.twilio.calls:
                call_id = await id_of(stage.api, stage.twilio.calls[0])
                self._replay.call_id = call_id or ""
            if not self._replay.call_id:
                continue
            answer = await stage.api.get(
                f"/calls/{self._replay.call_id}/events", params={"after": known}
            )
            for event in answer.raise_for_status().json()["events"]:
                known = event["id"]
                self._timeline.recorded(event["kind"], event["detail"])

    async def _have_call(self, stage: Stage) -> EmulatedCall | None:
        """Place the call, or have the person call in, and wait until it is over."""
        plan = self._scenario.call
        person = Person(
            self._caller,
            voice=self._voice,
            snr_db=plan.noise_snr_db,
            conditions=self._scenario.line,
        )
        call: EmulatedCall | None
        if plan.direction == "inbound":
            url = f"{stage.server_url}/twilio/inbound"
            ring_secs = plan.ring_ms / 1000
            call = await stage.twilio.call_in(
                plan.number, plan.our_number, url, person, ring_secs=ring_secs
            )
        else:
            stage.twilio.people[plan.number] = _behaviour(self._scenario, person)
            body = {"phone_number": plan.number, **plan.request}
            placed = await stage.api.post("/calls", json=body)
            if placed.is_error:
                raise ReplayBroken(f"POST /calls: {placed.status_code} {placed.text[:300]}")
            self._replay.call_id = placed.json()["id"]
            call = await self._dialled(stage)
        if call is not None:
            await call.settled()
            for kind in ("person.failed", "emulator.failed"):
                if (failed := call.record.first(kind)) is not None:
                    raise ReplayBroken(f"{kind}: {failed.detail['problem']}")
        return call

    async def _dialled(self, stage: Stage) -> EmulatedCall | None:
        """The call at Twilio; None when the server had to give it up before there was one."""
        loop = asyncio.get_running_loop()
        until = loop.time() + DIALS_WITHIN_SECS
        while not stage.twilio.calls:
            answer = await stage.api.get(f"/calls/{self._replay.call_id}")
            if answer.raise_for_status().json()["status"] == "failed" and not stage.twilio.calls:
                return None
            if loop.time() > until:
                raise ReplayBroken(
                    f"the server did not dial: its TWILIO_API_BASE_URL should be {stage.twilio.url}"
                )
            await asyncio.sleep(WATCH_SECS)
        return stage.twilio.calls[0]

    async def _judge(self, stage: Stage, call: EmulatedCall | None, hearing: Hearing) -> None:
        replay, scenario = self._replay, self._scenario
        result = await result_of(stage.api, replay.call_id, call)
        replay.call_id = result["id"]
        replay.status, replay.end_reason = result["status"], result["end_reason"]
        replay.transcript = result["turns"]
        if call is not None:
            replay.sound = Sound(call.record.caller_audio, call.record.agent_audio)
            replay.first_sound_ms = _ms(call.record.first_sound_secs)
            replay.gaps = len(call.record.gaps)
            replay.speech = hearing.stretches(call, result["turns"])
            replay.response_ms = hearing.response_ms(call)
        replay.failures += self._caller.failures + self._caller.left_open()
        events = await events_of(stage.api, replay.call_id)
        replay.notes += tool_failures(events)
        outcome = self._still_asked()
        failures, not_checked = check_outcome(
            outcome, result, events, call, hearing, real=stage.gemini is None
        )
        replay.failures += failures
        replay.not_checked += not_checked
        replay.timeline = sorted(self._timeline.events, key=lambda event: event.at)
        replay.failures += _errors(scenario, stage) + _breakdown(scenario, replay)
        replay.verdict = _verdict(replay)

    def _still_asked(self) -> Outcome:
        """The outcome that can be asked for; of a failed turn, what follows is only noted."""
        outcome, failed_turn = self._scenario.outcome, self._caller.failed_turn
        if failed_turn is None:
            self._replay.failures += [
                Failure(
                    fault.where,
                    f"a {fault.kind} {fault.at_ms} ms after the answer",
                    "there was nothing left that could go wrong so",
                )
                for fault in self._uncaused
            ]
            return outcome
        outcome, left_out = still_asked(outcome, failed_turn, hung_up=self._caller.gave_up)
        self._replay.notes += unplayed(failed_turn, len(self._scenario.turns)) + left_out
        return outcome

    async def _cause_faults(self, stage: Stage) -> None:
        timeline = self._timeline
        await timeline.changes.until(lambda: timeline.answered_at is not None)
        for fault in sorted(self._uncaused, key=lambda fault: fault.at_ms):
            await asyncio.sleep(max(0.0, fault.at_ms / 1000 - timeline.now()))
            if await cause(fault, stage):
                self._uncaused.remove(fault)

    def _language(self) -> str:
        return str(self._scenario.call.request.get("language", "en-US"))


def _behaviour(scenario: Scenario, person: Person) -> Behaviour:
    ring_secs = scenario.call.ring_ms / 1000
    behaviours: dict[str, Behaviour] = {
        "person": Answer(person, ring_secs),
        "busy": Busy(ring_secs),
        "no_answer": NoAnswer(),
        "rejected": Rejected(ring_secs),
        "unreachable": Unreachable(ring_secs=ring_secs),
        "invalid": Invalid(),
        "voicemail": Voicemail(ring_secs=ring_secs),
    }
    return behaviours[scenario.call.answer]


def _errors(scenario: Scenario, stage: Stage) -> list[Failure]:
    """What Twilio or the emulated model complained of: it is never right."""
    errors = [
        f"Twilio's error {error.code}: {error.message}"
        for call in stage.twilio.calls
        for error in call.record.errors
    ]
    if stage.gemini is not None:
        errors += [str(error) for error in stage.gemini.errors]
    return [Failure(scenario.where, "no complaint of either vendor", error) for error in errors]


def _breakdown(scenario: Scenario, replay: Replay) -> list[Failure]:
    """A call that broke down, where the scenario does not say how it is to end."""
    asked = scenario.outcome.status is not None or scenario.outcome.end_reason is not None
    if asked or not _asks_anything(scenario) or replay.end_reason not in ("no_model", "system"):
        return []
    return [Failure(scenario.where, "a call that does not break down", replay.end_reason)]


def _verdict(replay: Replay) -> Verdict:
    if replay.failures:
        return Verdict.FAILED
    return Verdict.PASSED if _asks_anything(replay.scenario) else Verdict.NOT_CHECKED


def _asks_anything(scenario: Scenario) -> bool:
    """Whether the scenario has anything that can be checked at a phone."""
    turns = any(turn.expect or turn.does_something for turn in scenario.turns)
    return turns or scenario.outcome != Outcome()


def _ms(secs: float | None) -> float | None:
    return None if secs is None else secs * 1000
