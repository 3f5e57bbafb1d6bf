"""Environment of the server that `voice-ai dev` runs: no setting has to be edited for it."""

from collections.abc import Mapping
from pathlib import Path

from server.demo.stage import Vendor

# What belongs to the real world: other vendors, other databases, who may call.
REPLACED = (
    "ENVIRONMENT",
    "INSTANCE_URL",
    "TWILIO_REGION",
    "TWILIO_EDGE",
    "REDIS_URL",
    "TEMPORAL_ADDRESS",
    "API_KEYS",
    "STREAM_TOKEN_SECRET",
    "ALLOWED_DESTINATIONS",
)
# Of the model, replaced when it is emulated. The CA of a shell is none of the emulator's.
MODEL = ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "SSL_CERT_FILE")
LOCAL = "127.0.0.1,localhost"


def dev_environment(
    given: Mapping[str, str | None],
    *,
    twilio: Vendor,
    gemini: Vendor | None,
    port: int,
    database: Path,
    pipeline: str | None = None,
) -> dict[str, str]:
    """The variables of a server at `port` that talks with these emulators.

    `given` is `.env` and the shell's environment; with `gemini` None, the model is the one there.
    `pipeline` has every call that names none, in or out; None: as the settings say, and without
    them the only pipeline of PIPELINES.
    """
    replaced = {*REPLACED, *(MODEL if gemini is not None else ())}
    kept = {name: value for name, value in given.items() if value and name not in replaced}
    model = {} if gemini is None else {**gemini.environment(), "GEMINI_API_KEY": "emulated"}
    chosen = {} if pipeline is None else _pipeline_of_calls(pipeline)
    no_proxy = kept.get("NO_PROXY") or kept.get("no_proxy")
    return {
        # Tracebacks of tools and pipelines; the conversation is printed by `dev` itself.
        "LOG_LEVEL": "WARNING",
        "LOG_PERSONAL_DATA": "true",
        **_pipeline_of_calls("auto"),
        **kept,
        **chosen,
        # With an emulated model, its session would be one that no conversation knows of.
        **({} if gemini is None else {"ANSWER_FILLER": "false"}),
        **twilio.environment(),
        **model,
        "BASE_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "DATABASE_URL": f"sqlite+aiosqlite:///{database}",
        # What a tool prints is seen at once, in a pipe, too.
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": f"{no_proxy},{LOCAL}" if no_proxy else LOCAL,
    }


def _pipeline_of_calls(name: str) -> dict[str, str]:
    return {"DEFAULT_PIPELINE": name, "INBOUND_NUMBERS": f"*={name}"}
