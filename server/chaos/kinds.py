"""The kinds of faults: each strikes one call of its own, at a moment of the conversation."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.chaos.talk import ANSWER, script
from server.emulators.gemini_live import ConnectFault, GeminiLiveEmulator, Script, Session

STRIKES_WITHIN_SECS = 30.0
# So far into the question, the fault strikes "in the caller's turn".
INTO_QUESTION_SECS = 0.8
INTO_REPLY_SECS = 0.6
INTO_TOOL_SECS = 0.5


class Scene:
    """The model's side of a call, for a fault to strike."""

    def __init__(self, gemini: GeminiLiveEmulator, number: str) -> None:
        self.gemini = gemini
        self._number = number

    @property
    def sessions(self) -> list[Session]:
        """The call's sessions: their instruction names the number."""
        return [each for each in self.gemini.sessions if self._number in str(each.setup)]

    @property
    def session(self) -> Session | None:
        """The newest session that is open."""
        living = [each for each in self.sessions if each.is_set_up and each.is_open]
        return living[-1] if living else None

    async def until(self, true: Callable[[Session], bool]) -> Session:
        """The newest session, once `true` of it. Raises: TimeoutError."""

        def reached() -> bool:
            return self.session is not None and true(self.session)

        await self.gemini.until(reached, STRIKES_WITHIN_SECS)
        assert self.session is not None
        return self.session

    async def opened(self) -> Session:
        """A session is open. Raises: TimeoutError."""
        return await self.until(lambda _: True)

    async def greeting(self) -> Session:
        """The greeting is being said. Raises: TimeoutError."""
        return await self.until(lambda s: any(r.secs > 0.3 for r in s.log.replies))

    async def asked(self) -> Session:
        """The caller is in the middle of the question. Raises: TimeoutError."""
        session = await self.until(lambda s: "speech_started" in _notes(s))
        await asyncio.sleep(INTO_QUESTION_SECS)
        return session

    async def thinking(self) -> Session:
        """The caller has asked. Raises: TimeoutError."""
        return await self.until(lambda s: "speech_ended" in _notes(s))

    async def replying(self) -> Session:
        """The answer is being said. Raises: TimeoutError."""
        return await self.until(
            lambda s: any(r.text == ANSWER and r.secs > INTO_REPLY_SECS for r in s.log.replies)
        )

    async def in_tool(self) -> Session:
        """A tool runs. Raises: TimeoutError."""
        session = await self.until(lambda s: bool(s.log.tool_calls))
        await asyncio.sleep(INTO_TOOL_SECS)
        return session

    async def between(self) -> Session:
        """The greeting was heard, and nobody speaks. Raises: TimeoutError."""
        session = await self.until(lambda s: s.log.turns_complete >= 1)
        await asyncio.sleep(0.5)
        return session


Moment = Callable[[Scene], Awaitable[Session]]
Strike = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `behaviour` and `connects` are how Gemini is from the start on."""

    name: str
    strike: Strike | None = None
    script: Script = field(default_factory=script)
    connects: Sequence[ConnectFault] = ()
    behaviour: Mapping[str, Any] = field(default_factory=dict)
    # The script of sessions that resume another one, and of all but the first.
    resumed: Script | None = None
    later: Script | None = None
    with_tool: bool = False
    # The person calls; otherwise, the system does.
    inbound: bool = False


def _notes(session: Session) -> list[str]:
    return [event.kind for event in session.log.events if event.direction == "note"]


def _drop(moment: Moment, code: int | None, times: int = 1) -> Strike:
    async def strike(scene: Scene) -> None:
        for _ in range(times):
            session = await moment(scene)
            await session.drop(code, "chaos")

    return strike


def _stall(moment: Moment, secs: float | None = None) -> Strike:
    async def strike(scene: Scene) -> None:
        session = await moment(scene)
        if secs is None:
            session.stall()
        else:
            session.freeze(secs)

    return strike


def _go_away(moment: Moment, secs: float, *, silent: bool = False) -> Strike:
    async def strike(scene: Scene) -> None:
        session = await moment(scene)
        await session.go_away(secs)
        if silent:
            session.stall()

    return strike


def _drop_again_on_resume(code: int) -> Strike:
    """Drop the one that serves in the question, and the next one as soon as it is open."""

    async def strike(scene: Scene) -> None:
        first = await scene.asked()
        await first.drop(code, "chaos")
        second = await scene.until(lambda s: s is not first)
        await second.drop(code, "chaos")

    return strike


def _close_every(secs: float) -> Strike:
    async def strike(scene: Scene) -> None:
        while True:
            session = await scene.opened()
            await asyncio.sleep(secs)
            await session.drop(1011, "chaos")

    return strike


def _say(message: Any) -> Strike:
    async def strike(scene: Scene) -> None:
        session = await scene.asked()
        await session.send(message)

    return strike


async def _loop_of_1007(scene: Scene) -> None:
    """Every session that resumes is closed when it gets audio again; a fresh one is not."""
    first = await scene.asked()
    await first.drop(1007, "Request contains an invalid argument.")
    seen = {first}
    while True:
        session = await scene.until(
            lambda s: s not in seen and s.resumes is not None and bool(s.log.audio)
        )
        seen.add(session)
        await session.drop(1007, "Request contains an invalid argument.")


async def _half_a_message(scene: Scene) -> None:
    session = await scene.asked()
    await session.send_garbage('{"serverContent": {"modelTurn": ')


CAUGHT: dict[str, Moment] = {
    "turn": Scene.asked,
    "thinking": Scene.thinking,
    "reply": Scene.replying,
    "greeting": Scene.greeting,
    "pause": Scene.between,
    "tool": Scene.in_tool,
}
CODES: dict[str, Sequence[int | None]] = {
    "turn": (1000, None, 1007, 1008, 1011, 1012, 1013),
    "thinking": (None, 1011),
    "reply": (None, 1007, 1008, 1011, 1012),
    "greeting": (None, 1011),
    "pause": (None, 1011),
    "tool": (None, 1007, 1011),
}


def _drops() -> list[Kind]:
    kinds = []
    for where, codes in CODES.items():
        in_tool = where == "tool"
        for code in codes:
            name = f"dropped ({1006 if code is None else code}) in {where}"
            strike = _drop(CAUGHT[where], code)
            kinds.append(Kind(name, strike, script(with_tool=in_tool), with_tool=in_tool))
    return kinds


POISONED = script(
    rules=(
        {
            "hears": "*",
            "do": [
                {"send": {"serverContent": {"inputTranscription": {"text": "a question"}}}},
                {"pause_secs": 600},
            ],
        },
        {"text_matches": r"^\[(The connection|You had)", "do": [{"pause_secs": 600}]},
    )
)
HALF = script(
    rules=(
        {
            "hears": "*",
            "times": 1,
            "do": [{"say": ANSWER, "cut_after_secs": 1.5}, {"pause_secs": 600}],
        },
    )
)
EMPTY = script(rules=({"hears": "*", "do": [], "times": 1},))
FIRST, TWO = frozenset({1}), frozenset({1, 2})
AGAIN = frozenset({2, 3})


async def _near_silent(scene: Scene) -> None:
    first = await scene.between()
    scene.gemini.behaviour.loudness = 0.004  # about -66 dBFS
    await first.until(lambda s: s.log.turns_complete >= 2, STRIKES_WITHIN_SECS)
    scene.gemini.behaviour.loudness = 1.0


async def _poisoned(scene: Scene) -> None:
    session = await scene.between()
    await session.drop(1011, "chaos")


async def _closed_while_open(scene: Scene) -> None:
    """The network is gone; Gemini believes that the old connection is open."""
    scene.gemini.behaviour.resume_while_open = "refuse"
    session = await scene.between()
    await session.go_away(8.0)


def all_kinds() -> list[Kind]:
    """Every kind, in the order of the report."""
    of_tool = script(with_tool=True)
    return [
        *_drops(),
        Kind("silent for ever from the question on", _stall(Scene.asked)),
        Kind("silent for ever in the reply", _stall(Scene.replying)),
        Kind("silent for ever in the greeting", _stall(Scene.greeting)),
        Kind("frozen for 5 s in the question", _stall(Scene.asked, 5.0)),
        Kind("frozen for 5 s in the reply", _stall(Scene.replying, 5.0)),
        Kind("frozen for 5 s before the reply", _stall(Scene.thinking, 5.0)),
        Kind("turnComplete without audio", script=EMPTY),
        Kind("a reply at -66 dBFS", _near_silent),
        Kind("generation stops half-way", script=HALF, later=script()),
        Kind("connect hangs at the start", connects=[ConnectFault(stall=True, connects=FIRST)]),
        Kind("connect is refused (503) at the start", connects=[_http(503, FIRST)]),
        Kind("connect is refused (429) at the start", connects=[_http(429, FIRST)]),
        Kind("setup is closed (1011) at the start", connects=[_closes(1011, FIRST)]),
        Kind("connect is refused twice at the start", connects=[_http(503, TWO)]),
        Kind("setup takes 3 s at the start", behaviour={"setup_secs": 3.0}),
        Kind("two drops in a row", _drop_again_on_resume(1011)),
        Kind(
            "every handle refused",
            _drop(Scene.asked, 1011),
            behaviour={"takes_handles": False},
        ),
        Kind("503 on reconnect", _drop(Scene.asked, 1011), connects=[_http(503, AGAIN)]),
        Kind(
            "connect hangs on reconnect",
            _drop(Scene.asked, 1011),
            connects=[ConnectFault(stall=True, connects=frozenset({2}))],
        ),
        Kind("closed every 9 s", _close_every(9.0)),
        Kind("goAway (10 s) in the question", _go_away(Scene.asked, 10.0)),
        Kind("goAway (10 s) in the reply", _go_away(Scene.replying, 10.0)),
        Kind("goAway (10 s) in a pause", _go_away(Scene.between, 10.0)),
        Kind("goAway (1 s) in the reply", _go_away(Scene.replying, 1.0)),
        Kind("goAway, resume refused while open", _closed_while_open),
        Kind("half a message", _half_a_message),
        Kind("an unknown message", _say({"somethingNew": {"x": 1}})),
        Kind("an error message", _say({"error": {"code": 500, "message": "internal"}})),
        # What came later.
        Kind("goAway, then silence", _go_away(Scene.asked, 3.0, silent=True)),
        Kind("goAway in a tool call", _go_away(Scene.in_tool, 4.0), of_tool, with_tool=True),
        Kind("goAway with 0 s", _go_away(Scene.asked, 0.0)),
        Kind("a poisoned handle", _poisoned, resumed=POISONED),
        Kind("a loop of 1007", _loop_of_1007),
        Kind(
            "1011 while the old socket is open",
            _drop(Scene.asked, None),
            behaviour={"resume_while_open": "refuse"},
        ),
        Kind("a resume never resumable", _drop(Scene.asked, 1011), behaviour={"resumable": False}),
        Kind(
            "connect hangs at the start of an inbound call",
            connects=[ConnectFault(stall=True, connects=FIRST)],
            inbound=True,
        ),
        Kind(
            "setup takes 3 s at the start of an inbound call",
            behaviour={"setup_secs": 3.0},
            inbound=True,
        ),
    ]


def _http(status: int, connects: frozenset[int]) -> ConnectFault:
    return ConnectFault(http_status=status, connects=connects)


def _closes(code: int, connects: frozenset[int]) -> ConnectFault:
    return ConnectFault(close=code, connects=connects)
