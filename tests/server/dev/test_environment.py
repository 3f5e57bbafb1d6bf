"""The server of `voice-ai dev` knows nothing of the real world."""

from pathlib import Path

import pytest

from server.dev.environment import dev_environment
from server.settings.settings import Settings

REAL = {
    "ENVIRONMENT": "production",
    "TWILIO_ACCOUNT_SID": "AC" + 32 * "1",
    "TWILIO_AUTH_TOKEN": "real-token",
    "TWILIO_PHONE_NUMBER": "+15550100777",
    "GEMINI_API_KEY": "real-key",
    "GOOGLE_GEMINI_BASE_URL": "https://real.example.com",
    "SSL_CERT_FILE": "/etc/ssl/of-the-shell.pem",
    "BASE_URL": "https://real.example.com",
    "DATABASE_URL": "postgresql+asyncpg://me:secret@real.example.com/x",
    "REDIS_URL": "redis://real.example.com",
    "TEMPORAL_ADDRESS": "real.example.com:7233",
    "API_KEYS": "a-real-key",
    "ALLOWED_DESTINATIONS": "+49",
    "PIPELINES": "my_agent.calls",
    "GEMINI_VOICE": "Aoede",
    "NO_PROXY": "intern.example.com",
}


class Emulated:
    """A vendor with these variables."""

    def __init__(self, **variables: str) -> None:
        self.variables = variables

    def environment(self) -> dict[str, str]:
        """The variables."""
        return self.variables


TWILIO = Emulated(
    TWILIO_API_BASE_URL="http://127.0.0.1:1",
    TWILIO_ACCOUNT_SID="AC" + 32 * "0",
    TWILIO_AUTH_TOKEN="emulated-auth-token",
    TWILIO_PHONE_NUMBER="+15550100999",
)


def test_with_both_vendors_emulated_nothing_real_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    gemini = Emulated(
        GOOGLE_GEMINI_BASE_URL="https://127.0.0.1:2", SSL_CERT_FILE=str(tmp_path / "ca.pem")
    )
    made = dev_environment(
        REAL, twilio=TWILIO, gemini=gemini, port=8123, database=tmp_path / "dev.db"
    )
    assert not [value for value in made.values() if "real" in value or "shell" in value]
    for name in REAL:
        monkeypatch.delenv(name, raising=False)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.base_url == "http://127.0.0.1:8123"
    assert settings.twilio_phone_number == "+15550100999"
    assert settings.allows_destination("+15550100123")
    # What is of the agent stays.
    assert (settings.pipelines, settings.gemini_voice) == (("my_agent.calls",), "Aoede")
    assert made["NO_PROXY"] == "intern.example.com,127.0.0.1,localhost"


def test_the_real_model_is_found_as_it_is_by_a_server(tmp_path: Path) -> None:
    made = dev_environment(REAL, twilio=TWILIO, gemini=None, port=0, database=tmp_path / "dev.db")
    model = ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "SSL_CERT_FILE")
    assert {name: made[name] for name in model} == {name: REAL[name] for name in model}
    assert made["TWILIO_AUTH_TOKEN"] == "emulated-auth-token"


def test_calls_that_name_no_pipeline_have_the_one_that_was_chosen(tmp_path: Path) -> None:
    def of_calls(given: dict[str, str | None], pipeline: str | None = None) -> tuple[str, str]:
        made = dev_environment(
            given, twilio=TWILIO, gemini=None, port=0, database=tmp_path, pipeline=pipeline
        )
        return made["DEFAULT_PIPELINE"], made["INBOUND_NUMBERS"]

    assert of_calls({}) == ("auto", "*=auto")
    assert of_calls({"INBOUND_NUMBERS": "*=mine"}) == ("auto", "*=mine")
    assert of_calls({"DEFAULT_PIPELINE": "mine"}) == ("mine", "*=auto")
    assert of_calls({"INBOUND_NUMBERS": "*=mine"}, "other") == ("other", "*=other")
