"""What a session was set up with, checked by its meaning, and read where it matters."""

from collections.abc import Mapping
from typing import Any

from server.emulators.gemini_live.declarations import check_declarations
from server.emulators.gemini_live.proto_json import InvalidMessage
from server.emulators.gemini_live.voice_activity import Detection
from server.emulators.speech import voice_for

LOW_VOICES = frozenset(
    {
        "Achird", "Algenib", "Algieba", "Alnilam", "Charon", "Enceladus", "Fenrir", "Iapetus",
        "Orus", "Puck", "Rasalgethi", "Sadachbia", "Sadaltager", "Schedar", "Umbriel",
        "Zubenelgenubi",
    }
)  # fmt: skip
# Without a trigger the window slides at this share of the model's 128k tokens.
DEFAULT_TRIGGER_TOKENS = 104_857


class Setup:
    """Reads a checked `setup` message.

    Raises: InvalidMessage when it asks for what no Live model gives.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields
        self.model: str = fields.get("model", "")
        if not self.model.startswith("models/"):
            raise InvalidMessage("setup.model is required, as models/{model}")
        generation = fields.get("generationConfig", {})
        if generation.get("responseModalities", ["AUDIO"]) != ["AUDIO"]:
            raise InvalidMessage("Request contains an invalid argument: response modalities")
        proactive = fields.get("proactivity", {}).get("proactiveAudio")
        if proactive is False and "gemini-3.8" in self.model:
            raise InvalidMessage("Proactive audio cannot be disabled for this model")
        self._speech: dict[str, Any] = generation.get("speechConfig", {})
        self.functions: dict[str, bool] = {}
        self.take_tools(fields.get("tools", []))

    @property
    def resumes(self) -> bool:
        """Whether the client wants resumption handles."""
        return "sessionResumption" in self.fields

    @property
    def handle(self) -> str | None:
        """The handle of the session to go on with."""
        return self.fields.get("sessionResumption", {}).get("handle") or None

    @property
    def transparent(self) -> bool:
        """Whether updates say which client message was consumed last."""
        return bool(self.fields.get("sessionResumption", {}).get("transparent"))

    @property
    def transcribes_input(self) -> bool:
        """Whether the client wants to read what the caller says."""
        return "inputAudioTranscription" in self.fields

    @property
    def transcribes_output(self) -> bool:
        """Whether the client wants to read what the model says."""
        return "outputAudioTranscription" in self.fields

    @property
    def detection(self) -> Detection:
        """How speech is detected."""
        return Detection.of_setup(self.fields)

    @property
    def interrupts(self) -> bool:
        """Whether the caller's speech interrupts the model."""
        handling = self.fields.get("realtimeInputConfig", {}).get("activityHandling")
        return bool(handling != "NO_INTERRUPTION")

    @property
    def compression(self) -> tuple[int, int] | None:
        """Tokens at which the window slides, and how many stay; None: it never does."""
        asked: Mapping[str, Any] | None = self.fields.get("contextWindowCompression")
        if asked is None:
            return None
        trigger = asked.get("triggerTokens", DEFAULT_TRIGGER_TOKENS)
        return trigger, asked.get("slidingWindow", {}).get("targetTokens", trigger // 2)

    @property
    def instruction(self) -> str:
        """The text of the system instruction."""
        return content_text(self.fields.get("systemInstruction", {}))

    def voice(self, language: str | None) -> str:
        """espeak-ng's voice for a language; None is the one the setup asks for."""
        name = self._speech.get("voiceConfig", {}).get("prebuiltVoiceConfig", {}).get("voiceName")
        variant = "m3" if name in LOW_VOICES else "f3"
        return voice_for(language or self._speech.get("languageCode", "en-US"), variant)

    def take_tools(self, tools: list[dict[str, Any]]) -> None:
        """Declare these functions in place of the others: name, and whether it blocks the model.

        Raises: InvalidMessage.
        """
        check_declarations(tools)
        self.functions = {
            declaration.get("name", ""): declaration.get("behavior") == "BLOCKING"
            for tool in tools
            for declaration in tool.get("functionDeclarations", [])
        }


def content_text(content: Mapping[str, Any]) -> str:
    """The text of all parts."""
    return "".join(part.get("text", "") for part in content.get("parts", []))
