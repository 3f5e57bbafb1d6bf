"""The phone call of a scenario, from a file: numbers, ringing, callbacks, and its request."""

import re
from collections.abc import Mapping
from typing import Any, get_args

from pydantic import ValidationError

from agent.profile import VadConfig
from server.calls.schemas import CallRequest
from server.emulators.espeak import espeak
from server.replay.fields import Fields
from server.replay.scenario import Answer, CallPlan, Direction
from server.settings.inbound_numbers import InboundRoute
from server.settings.profile_fields import E164
from server.settings.settings import DEFAULT_PIPELINE

REQUEST_KEYS = tuple(name for name in CallRequest.model_fields if name != "phone_number")
CALL_KEYS = (
    *("direction", "number", "our_number", "ring_ms", "answer", "caller", "callbacks", "then"),
    *REQUEST_KEYS,
)
# Twilio's names for what it calls back about.
CALLBACKS = (
    *("initiated", "ringing", "answered", "completed"),
    *("stream-started", "stream-stopped", "stream-error"),
)

_NUMBER = re.compile(E164)
# Who calls, or is called, without being a telephone.
_ADDRESS = re.compile(r"(client|sips?|whatsapp):\S{1,500}|anonymous")
_LONGEST_RING_MS = 600_000


def read_call(fields: Fields) -> CallPlan:
    """The mapping under `call`."""
    plain = CallPlan()
    caller = fields.mapping("caller", ("voice", "noise_snr_db"))
    callbacks = fields.mapping("callbacks", ("lose", "delay_ms", "twice"))
    direction: Direction = fields.choice("direction", get_args(Direction), plain.direction)
    answer: Answer = fields.choice("answer", get_args(Answer), plain.answer)
    if direction == "inbound" and answer != "person":
        fields.wrong("answer", "nothing but `person`, for an inbound call is answered by us")
    return CallPlan(
        direction=direction,
        number=_number(fields, "number", plain.number, direction),
        our_number=_number(fields, "our_number", plain.our_number, direction),
        ring_ms=fields.whole("ring_ms", plain.ring_ms, most=_LONGEST_RING_MS),
        answer=answer,
        request=_request(fields, direction),
        voice=None if caller is None else _voice(caller),
        noise_snr_db=None if caller is None else caller.number("noise_snr_db", least=-20, most=120),
        stays=fields.choice("then", ("stays", "hangs_up"), "stays") == "stays",
        callbacks_lost=frozenset() if callbacks is None else _lost(callbacks),
        callbacks_delay_ms=0 if callbacks is None else callbacks.whole("delay_ms", 0),
        callbacks_twice=callbacks is not None and callbacks.yes_no("twice", False),
    )


def _number(fields: Fields, key: str, default: str, direction: Direction) -> str:
    node = fields.node(key)
    if node is None:
        return default
    # Without quotes it is a number to YAML, but the plus is still in the file.
    if isinstance(node.value, str | int) and _NUMBER.fullmatch(node.raw):
        return node.raw
    expected = "a phone number in E.164, such as +15550100123"
    if direction == "inbound":
        if isinstance(node.value, str) and _ADDRESS.fullmatch(node.value):
            return node.value
        expected += ", or an address such as client:alice or sip:alice@example.com"
    fields.wrong(key, expected)
    return default


def _voice(caller: Fields) -> str | None:
    voice = caller.text("voice")
    if voice is None:
        return None
    try:
        espeak().phonemes("a", voice=voice)
    except ValueError:
        caller.wrong("voice", "one of espeak-ng's voices, such as en-us+f3")
        return None
    return voice


def _lost(callbacks: Fields) -> frozenset[str]:
    lost = set()
    for name, item in callbacks.items("lose"):
        if isinstance(item.value, str) and item.value in CALLBACKS:
            lost.add(item.value)
        else:
            expected = f"one of {', '.join(CALLBACKS)}"
            callbacks.findings.wrong(item.where, name, expected, item.shown())
    return frozenset(lost)


def _request(fields: Fields, direction: Direction) -> dict[str, Any]:
    keys = REQUEST_KEYS
    if direction == "inbound":
        keys = tuple(key for key in keys if key in InboundRoute.model_fields)
        if fields.has("metadata"):
            fields.wrong(
                "metadata", "nothing, for only an outbound call is asked for with metadata"
            )
    given = {key: node.plain() for key in keys if (node := fields.node(key)) is not None}
    if isinstance(given.get("vad_config"), Mapping):
        # Names the nearest key, as everywhere in the file.
        vad = fields.mapping("vad_config", tuple(VadConfig.model_fields))
    else:
        vad = None
    for place, expected in complaints(given, direction):
        if place[0] == "vad_config" and vad is not None and len(place) > 1:
            if place[1] in VadConfig.model_fields:
                vad.wrong(str(place[1]), expected)
        else:
            fields.wrong(str(place[0]), expected)
    return given


def complaints(
    request: Mapping[str, Any], direction: Direction
) -> list[tuple[tuple[str | int, ...], str]]:
    """What the server would not take of a request: the place, and what belongs there."""
    try:
        if direction == "inbound":
            InboundRoute.model_validate({"pipeline": DEFAULT_PIPELINE, **request})
        else:
            CallRequest.model_validate({"phone_number": CallPlan().number, **request})
    except ValidationError as problem:
        return [(error["loc"], _in_words(error["msg"])) for error in problem.errors()]
    return []


def _in_words(message: str) -> str:
    for opening in ("Input should be ", "Value error, must ", "Value error, "):
        if message.startswith(opening):
            rest = message.removeprefix(opening)
            return f"that it must {rest}" if opening.endswith("must ") else rest
    return message[:1].lower() + message[1:]
