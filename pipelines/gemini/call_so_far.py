"""CallSoFar: what the next connection to the model, or another instance, is told of the call.

    over      the conversation as heard; of it, the turns that no handle covers
    going on  what the caller asked, how far the reply got, what is on its way to their ear
    unheard   prompts that were sent and not replied to, hints of a supervisor

`handover` puts it in words for a connection, `memory` in fields for an instance. A call that was
begun on another instance is told from that one's memory, until the agent speaks here.
"""

from collections.abc import Sequence
from dataclasses import replace

from agent.call_memory import CallMemory, Speech
from agent.conversation import Conversation
from agent.model_instructions import CUT_OFF
from pipelines.gemini.handover import Handover, Situation, ToolState, hand_over
from pipelines.gemini.reply_state import ReplyState
from pipelines.gemini.supervisor_hints import SupervisorHints
from pipelines.phone.caller_speech import CallerSpeech
from pipelines.phone.playback import Playback

# Of the turns that no handle covers, the newest are told: three of each side.
MOST_LATELY = 6


class CallSoFar:
    """Gathers from the parts of one call what has to be known to go on with it."""

    def __init__(
        self,
        conversation: Conversation,
        reply: ReplyState,
        speech: CallerSpeech,
        playback: Playback,
        recalled: CallMemory | None = None,
        *,
        now: float = 0.0,
    ) -> None:
        """`recalled`: the memory of the instance that has begun the call.

        `now`: when this one takes it, in seconds since the epoch.
        """
        self._conversation = conversation
        self._reply = reply
        self._speech = speech
        self._playback = playback
        self.hints = SupervisorHints(recalled.hints if recalled is not None else ())
        # What the model was sent and has not replied to.
        self._prompts: list[str] = []
        # Turns that are over, and that the newest handle does not cover.
        self._lately: list[str] = list(recalled.lately) if recalled is not None else []
        # Until the agent speaks; nothing has to be said when nothing broke off.
        self._recalled = None if recalled is None or recalled.quiet else recalled
        self._recalled_at = now

    # --- what happens ------------------------------------------------------------------------

    def prompted(self, text: str) -> None:
        """The model was sent a line that it may reply to."""
        self._prompts.append(text)

    def reply_begins(self) -> None:
        """The model replies: what came before is answered."""
        self._prompts.clear()
        self._recalled = None

    def turn_ends(self) -> bool:
        """Keep the words of the turn that ends, until a handle covers them; False: it had none."""
        reply = self._reply
        if not reply.is_replying or not (reply.asked or reply.text):
            return False
        self._lately = [*self._lately, *self._turn_lines()][-MOST_LATELY:]
        return True

    def covered(self) -> None:
        """A handle covers all that was said so far."""
        self._lately.clear()
        self.hints.covered()

    def connected(self) -> None:
        """A connection takes over that was told everything."""
        self._prompts.clear()

    # --- what is told ------------------------------------------------------------------------

    @property
    def is_recalled(self) -> bool:
        """Another instance's memory is what is known: a reply broke off, or a turn is owed."""
        return self._recalled is not None

    def handover(self, *, resumed: bool, replays: bool, tools: Sequence[ToolState]) -> Handover:
        """What a connection is told that takes over; `resumed` and `replays` as in `Situation`."""
        reply = self._reply
        unfinished = reply.is_unfinished
        told = hand_over(
            Situation(
                resumed=resumed,
                replays=replays,
                conversation="" if resumed else self._said_so_far(replays=replays),
                lately="\n".join(self._lately) if resumed else "",
                asked=reply.asked if unfinished else reply.unanswered,
                said=reply.unfinished if unfinished else None,
                tools=tools,
                prompts=tuple(self._prompts),
            )
        )
        notes = (*told.notes, *self.hints.for_session(resumed=resumed))
        return replace(told, notes=notes)

    def recalled_handover(self, *, resumed: bool) -> Handover:
        """What the first connection is told of a call that another instance has begun."""
        recalled = self._recalled
        assert recalled is not None
        # The stream has just been lost: what was on its way then is heard no more.
        said = recalled.heard_by(self._recalled_at)
        is_answered = recalled.speech is not None and said is None
        told = hand_over(
            Situation(
                resumed=resumed,
                replays=False,
                conversation="" if resumed else self._conversation.as_text(),
                lately="\n".join(recalled.lately) if resumed else "",
                asked="" if is_answered else recalled.asked,
                said=said,
            )
        )
        return Handover((*told.notes, *recalled.hints), told.prompts or (CUT_OFF,))

    def memory(self, handle: str | None, epoch: float) -> CallMemory:
        """What another instance has to know, without the time of the answer.

        `epoch`: zero of the call's clock in seconds since the epoch; another machine's clock has
        another zero.
        """
        if self._recalled is not None:
            return replace(self._recalled, handle=handle, recorded=True)
        reply, speech = self._reply, self._speech_on_its_way(epoch)
        is_open = reply.is_unfinished or speech is not None
        last = self._speech.stretches[-1] if self._speech.stretches else None
        # It may be heard to its end, and no handle covers it before the turn is over.
        made = self._turn_lines() if reply.is_replying and not reply.is_unfinished else []
        return CallMemory(
            handle=handle,
            conversation=self._conversation.as_text(),
            lately=(*self._lately, *made)[-MOST_LATELY:],
            asked=_line(reply.asked if is_open else reply.unanswered),
            asked_from=epoch + last.start if last else 0.0,
            asked_until=epoch + last.end if last else 0.0,
            speech=speech,
            hints=self.hints.lines,
        )

    def _turn_lines(self) -> list[str]:
        """The turn that goes on, or was over last."""
        lines = (("Caller", self._reply.asked), ("You", self._reply.text))
        return [f"{who}: {_line(text)}" for who, text in lines if text]

    def _said_so_far(self, *, replays: bool) -> str:
        """The conversation as heard, with what is on its way to the caller's ear."""
        said, unheard = self._conversation.as_text(), self._playback.unheard_text
        asked = _line(self._reply.asked) if unheard and not replays else ""
        lines = [said, asked and f"Caller: {asked}", unheard and f"You: {unheard}"]
        return "\n".join(filter(None, lines))

    def _speech_on_its_way(self, epoch: float) -> Speech | None:
        playback, goes_on = self._playback, self._reply.is_unfinished
        begins, ends = playback.unheard_from, playback.last_sound
        if begins is None or ends is None or not playback.unheard_text:
            return None
        return Speech(playback.unheard_text, epoch + begins, epoch + ends, goes_on=goes_on)


def _line(text: str) -> str:
    return " ".join(text.split())
