"""Checks Gemini: opens a session of the model with the key, and closes it; nothing is spoken."""

import asyncio
import time

from google.genai import types

from pipelines.gemini.client import GeminiClient
from pipelines.gemini.refusals import CERTIFICATE, NO_SUCH_NAME, refusal, sentence
from server.doctor.findings import Finding, fail, ok
from server.doctor.settings_check import missing
from server.settings.settings import Settings

NAME = "gemini"
WITHIN_SECS = 15.0
_ADVICE = {
    CERTIFICATE: "Check SSL_CERT_FILE (an emulator's CA?) and this machine's clock.",
    NO_SUCH_NAME: "Check DNS, and GOOGLE_GEMINI_BASE_URL when it is set.",
    "timeout": "Check the network and the proxy.",
}
_OF_THE_KEY = ("refused_401", "refused_403")
_OF_THE_SETUP = ("refused_400", "refused_404", "refused_1007", "refused_1008")


async def check_gemini(settings: Settings) -> list[Finding]:
    """Open a session."""
    if unset := missing(settings, NAME, "gemini_api_key"):
        return [unset]
    assert settings.gemini_api_key is not None
    client = GeminiClient(settings.gemini_api_key.get_secret_value(), settings.gemini_model)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    began = time.monotonic()
    try:
        async with asyncio.timeout(WITHIN_SECS), client.connect(config):
            took_ms = (time.monotonic() - began) * 1000
    except Exception as error:  # websockets, google-genai, OpenSSL and the network
        why, said = refusal(error), sentence(error, client.secrets)
        says = f"no session of {settings.gemini_model} ({why})" + (f": {said}" if said else "")
        return [fail(NAME, says, _advice(why, said))]
    finally:
        await client.aclose()
    return [ok(NAME, f"a session of {settings.gemini_model} in {took_ms:.0f} ms")]


def _advice(why: str, said: str) -> str:
    if why in _OF_THE_KEY or "api key" in said.lower():
        return "Correct GEMINI_API_KEY: aistudio.google.com has it."
    if why in _OF_THE_SETUP:
        return "Correct GEMINI_MODEL and GEMINI_API_KEY."
    return _ADVICE.get(why, "Check the network, and GOOGLE_GEMINI_BASE_URL when it is set.")
