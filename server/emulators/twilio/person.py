"""The person on the phone, as a list of actions or as an async function.

    Person([WaitForAgent("end"), Say("What are your opening hours?"), HangUp()])

    async def caller(phone: Handset) -> None:
        await phone.hears_speech()
        await phone.say("Sorry, one question.")

    Person(caller)

Once a script is through, the person listens until the call is over.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from server.emulators.speech import speak
from server.emulators.twilio.conditions import LineConditions
from server.emulators.twilio.handset import KEYS, Handset, HungUp
from server.emulators.twilio.mulaw import RATE
from server.emulators.twilio.record import CallRecord
from server.emulators.twilio.sound import read_wav

PersonFunction = Callable[[Handset], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Say:
    """Speak this, to its end."""

    text: str


@dataclass(frozen=True, slots=True)
class Play:
    """Say a recording: a mono 16-bit WAV; `text` is what is said in it."""

    path: Path
    text: str = ""


@dataclass(frozen=True, slots=True)
class Press:
    """Press these keys."""

    keys: str


@dataclass(frozen=True, slots=True)
class WaitForAgent:
    """Wait until the agent begins to speak, or until it spoke and was quiet for `quiet_secs`."""

    to: Literal["start", "end"] = "end"
    quiet_secs: float = 0.6


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for a while."""

    secs: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Put the phone down."""


Action = Say | Play | Press | WaitForAgent | Pause | HangUp


class PersonError(ValueError):
    """A description of a person that cannot be followed; the message says where."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone.

    `voice` is espeak-ng's name of one; `snr_db` is the line's noise below speech, None for none;
    `conditions` what else is wrong with the line.
    """

    script: Sequence[Action] | PersonFunction = ()
    voice: str = "en-us+f3"
    snr_db: float | None = None
    conditions: LineConditions | None = None

    def prepare(self) -> None:
        """Find the voice for everything that will be said, so that no call waits for it."""
        if not callable(self.script):
            for action in self.script:
                if isinstance(action, Say):
                    speak(action.text, voice=self.voice, rate=RATE)

    async def talk(self, phone: Handset) -> None:
        """Live through one call. Raises HungUp when it ends before the script does."""
        if callable(self.script):
            await self.script(phone)
        else:
            for action in self.script:
                await _do(action, phone)
        await phone.until_hung_up()

    @classmethod
    def load(cls, path: str | Path) -> "Person":
        """A person from a YAML file. Raises: PersonError, OSError."""
        path = Path(path)
        try:
            described = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as problem:
            raise PersonError(f"{path}: {problem}") from None
        return cls.parse(described, folder=path.parent)

    @classmethod
    def default(cls) -> "Person":
        """Somebody who asks for the opening hours, thanks, and says goodbye."""
        source = files("server.emulators.twilio") / "default_person.yaml"
        return cls.parse(yaml.safe_load(source.read_text(encoding="utf-8")))

    @classmethod
    def parse(cls, described: Any, *, folder: Path = Path()) -> "Person":
        """A person from plain values; recordings are looked for in `folder`.

            voice: en-us+f3
            snr_db: 20
            script:
              - wait_for_agent: end        # or: start, {to: end, quiet_secs: 1}
              - say: What are your opening hours?
              - pause: 0.5
              - press: "12#"
              - play: question.wav         # or: {path: question.wav, text: What is said}
              - hang_up

        Raises: PersonError.
        """
        if not isinstance(described, Mapping):
            raise PersonError("a person is a mapping with voice, snr_db and script")
        unknown = set(described) - {"voice", "snr_db", "script"}
        if unknown:
            raise PersonError(f"unknown: {', '.join(sorted(map(str, unknown)))}")
        steps = described.get("script") or []
        if not isinstance(steps, list):
            raise PersonError("script is a list of actions")
        actions = [_action(step, f"script[{index}]", folder) for index, step in enumerate(steps)]
        snr_db = described.get("snr_db")
        if snr_db is not None:
            snr_db = _number(snr_db, "snr_db", least=-20.0)
        return cls(actions, voice=str(described.get("voice", "en-us+f3")), snr_db=snr_db)


async def live_through(person: Person, phone: Handset, record: CallRecord) -> None:
    """Have the person on the phone until the call is over; who fails at it hangs up."""
    try:
        await person.talk(phone)
    except HungUp:
        return
    except Exception as problem:
        record.note("person.failed", problem=repr(problem))
        phone.hang_up()


async def _do(action: Action, phone: Handset) -> None:
    match action:
        case Say(text):
            await phone.say(text)
        case Play(path, text):
            pcm, rate = read_wav(path)
            await phone.play(pcm, rate, text=text)
        case Press(keys):
            await phone.press(keys)
        case WaitForAgent("start"):
            await phone.hears_speech()
        case WaitForAgent(_, quiet_secs):
            await phone.listen_until_silence(quiet_secs)
        case Pause(secs):
            await phone.pause(secs)
        case HangUp():
            phone.hang_up()


def _action(step: Any, where: str, folder: Path) -> Action:
    if step in ("hang_up", {"hang_up": None}):
        return HangUp()
    if not isinstance(step, Mapping) or len(step) != 1:
        raise PersonError(f"{where}: one action, as `say: …`, not {step!r}")
    name, value = next(iter(step.items()))
    where = f"{where}.{name}"
    match name:
        case "say":
            return Say(_text(value, where))
        case "play":
            fields = value if isinstance(value, Mapping) else {"path": value}
            path = folder / _text(fields.get("path"), where)
            if not path.is_file():
                raise PersonError(f"{where}: there is no file {path}")
            return Play(path, str(fields.get("text", "")))
        case "press":
            keys = _text(value, where)
            wrong = sorted(set(keys) - set(KEYS))
            if wrong:
                raise PersonError(f"{where}: no phone has a key {wrong[0]!r}")
            return Press(keys)
        case "wait_for_agent":
            fields = value if isinstance(value, Mapping) else {"to": value}
            to = fields.get("to", "end")
            if to not in ("start", "end"):
                raise PersonError(f"{where}: start or end, not {to!r}")
            quiet_secs = _number(fields.get("quiet_secs", 0.6), f"{where}.quiet_secs")
            return WaitForAgent(to, quiet_secs)
        case "pause":
            return Pause(_number(value, where))
    raise PersonError(f"{where}: no such action")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PersonError(f"{where}: a text is needed (in quotes when it is a number)")
    return value


def _number(value: Any, where: str, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise PersonError(f"{where}: a number from {least:g} on, not {value!r}")
    return float(value)
