"""The settings: what they accept, what they refuse, and that each of them is documented."""

import os
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr, ValidationError

from server.settings.settings import Settings, SettingsError, read_settings

ROOT = Path(__file__).parents[3]
PRODUCTION = {
    "ENVIRONMENT": "production",
    "API_KEYS": "key-one-of-the-callers-api,key-two-of-the-callers-api",
    "STREAM_TOKEN_SECRET": "sealed" * 6,
    "BASE_URL": "https://voice.example.com",
    "TWILIO_ACCOUNT_SID": "AC" + 32 * "0",
    "TWILIO_AUTH_TOKEN": "token",
    "TWILIO_PHONE_NUMBER": "+15550100999",
    "GEMINI_API_KEY": "key",
    "ALLOWED_DESTINATIONS": "+1",
}


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in PRODUCTION.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def names() -> set[str]:
    return {name.upper() for name in Settings.model_fields}


def test_every_setting_is_in_the_example_and_in_the_docs() -> None:
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == names()
    docs = (ROOT / "docs" / "settings.md").read_text()
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", docs, re.MULTILINE)) == names()


def test_the_example_as_it_is_works_and_changes_nothing(tmp_path: Path, restored: None) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text((ROOT / ".env.example").read_text())
    os.environ.pop("GOOGLE_GEMINI_BASE_URL")
    from_example, plain = read_settings(env_file), Settings()
    secret = {"stream_token_secret"}
    assert from_example.model_dump(exclude=secret) == plain.model_dump(exclude=secret)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A test that lets a .env file into the environment; it is taken out again."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_the_env_file_reaches_the_sdks_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    env_file = tmp_path / ".env"
    certificate = tmp_path / "ca.pem"
    certificate.touch()
    env_file.write_text(f"SSL_CERT_FILE={certificate}\nPORT=1234\nGEMINI_VOICE=\n")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("PORT", "4321")
    settings = read_settings(env_file)
    assert os.environ["SSL_CERT_FILE"] == str(certificate)
    assert settings.port == 4321
    assert settings.gemini_voice is None
    assert "GEMINI_VOICE" not in os.environ


def test_production_with_everything_starts(production: pytest.MonkeyPatch) -> None:
    settings = read_settings(None)
    assert [key.get_secret_value() for key in settings.api_keys] == [
        "key-one-of-the-callers-api",
        "key-two-of-the-callers-api",
    ]
    assert settings.stream_base_url == "wss://voice.example.com"


@pytest.mark.parametrize("name", sorted(PRODUCTION.keys() - {"ENVIRONMENT"}))
def test_production_without_one_of_them_does_not(production: pytest.MonkeyPatch, name: str) -> None:
    production.delenv(name)
    with pytest.raises(SettingsError, match=rf"(?m)^  {name}: "):
        read_settings(None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("API_KEYS", "key-one-of-the-callers-api,secret"), ("STREAM_TOKEN_SECRET", "s" * 31)],
)
def test_production_with_a_secret_that_can_be_guessed_does_not_start(
    production: pytest.MonkeyPatch, name: str, value: str
) -> None:
    production.setenv(name, value)
    with pytest.raises(
        SettingsError, match=rf"(?m)^  {name}: .*at least \d\d characters"
    ) as refusal:
        read_settings(None)
    assert value.split(",")[-1] not in str(refusal.value)
    production.setenv("ENVIRONMENT", "development")
    read_settings(None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1:none/0"),
        ("DATABASE_URL", "postgresql+asyncpg://me:hunter2@127.0.0.1:none/x"),
        ("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:8021"),
        ("METRICS_ADDRESS", "9100"),
        ("METRICS_ADDRESS", "http://127.0.0.1:9100"),
        ("METRICS_ADDRESS", "127.0.0.1:0"),
    ],
)
def test_an_address_that_nothing_can_be_opened_by_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"(?m)^  {name}: ") as refusal:
        read_settings(None)
    assert "hunter2" not in str(refusal.value)


def test_all_that_is_wrong_is_said_at_once_and_no_secret_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "eighty")
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2@db/calls")
    monkeypatch.setenv("LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError) as refusal:
        read_settings(None)
    said = str(refusal.value)
    assert all(f"  {name}: " in said for name in ("PORT", "DATABASE_URL", "LOG_LEVEL"))
    assert "hunter2" not in said


ENDS = [" ", "\r", "\n", "\t \r\n", "\u00a0"]


@pytest.mark.parametrize("end", ENDS)
def test_spaces_and_ends_of_lines_around_a_value_are_no_part_of_it(
    production: pytest.MonkeyPatch, end: str
) -> None:
    plain = read_settings(None)
    for name, value in PRODUCTION.items():
        production.setenv(name, end + value + end)
    assert read_settings(None) == plain
    production.setenv("GEMINI_VOICE", end)
    production.setenv("PORT", f"{end}8000{end}")
    production.setenv("GOOGLE_GEMINI_BASE_URL", f"https://127.0.0.1:9/{end}")
    assert read_settings(None).gemini_voice is None
    # The SDK reads it there.
    assert os.environ["GOOGLE_GEMINI_BASE_URL"] == "https://127.0.0.1:9"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "voice.example.com"),
        ("BASE_URL", "wss://voice.example.com"),
        ("BASE_URL", "https://"),
        ("BASE_URL", "https://https://voice.example.com"),
        ("BASE_URL", "https://voice .example.com"),
        ("BASE_URL", "https://voice.exam\nple.com"),
        ("BASE_URL", '"https://voice.example.com"'),
        ("BASE_URL", "https://<your-host>"),
        ("BASE_URL", "https://voice..example.com"),
        ("BASE_URL", "https://voice.example.com?"),
        ("BASE_URL", "https://voice.example.com/#top"),
        ("BASE_URL", "https://me@voice.example.com"),
        ("BASE_URL", "https://voice.example.com:99999"),
        ("TWILIO_API_BASE_URL", "https://api.twilio.com\u200b"),
        ("TWILIO_ACCOUNT_SID", "SK" + 32 * "0"),
        ("TWILIO_ACCOUNT_SID", "AC" + 31 * "0"),
        ("TWILIO_ACCOUNT_SID", "AC" + 16 * "0" + " " + 16 * "0"),
        ("TWILIO_AUTH_TOKEN", "to ken"),
        ("TWILIO_AUTH_TOKEN", '"token"'),
        ("TWILIO_PHONE_NUMBER", "+1 555 010 0999"),
        ("TWILIO_PHONE_NUMBER", "015550100999"),
        ("GEMINI_API_KEY", "two\nlines"),
        ("GEMINI_API_KEY", "k\u00e9y"),
        ("API_KEYS", "a key with spaces of enough length"),
    ],
)
def test_a_value_that_cannot_be_right_is_refused_by_name(
    production: pytest.MonkeyPatch, name: str, value: str
) -> None:
    production.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"(?m)^  {name}: .*must ") as refusal:
        read_settings(None)
    assert value not in str(refusal.value).replace("https://voice.example.com", "")


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
@pytest.mark.parametrize("password", ["a#b", "a/b", "a@b", "a?b", "1/b", "1#b", "[b", "a:b/c"])
def test_a_password_that_ends_its_url_has_to_be_percent_encoded(
    monkeypatch: pytest.MonkeyPatch, name: str, password: str
) -> None:
    scheme = "postgresql+asyncpg" if name == "DATABASE_URL" else "rediss"
    monkeypatch.setenv(name, f"{scheme}://me:{password}@db.example.com:6379/0")
    with pytest.raises(SettingsError, match=rf"(?m)^  {name}: .*percent-encoded") as refusal:
        read_settings(None)
    assert password not in str(refusal.value).split("percent-encoded")[0]
    monkeypatch.setenv(name, f"{scheme}://me:{quote(password, safe='')}@db.example.com:6379/0")
    read_settings(None)


def test_settings_never_show_their_secrets(production: pytest.MonkeyPatch) -> None:
    production.setenv("DATABASE_URL", "postgresql+asyncpg://user:hunter2@db/calls")
    shown = repr(read_settings(None))
    assert not any(secret in shown for secret in ("key-one", "sealed", "'token'", "hunter2"))


def test_a_token_secret_is_made_up_in_development_for_each_process() -> None:
    first, second = Settings().stream_token_secret, Settings().stream_token_secret
    assert first
    assert second
    assert first.get_secret_value() != second.get_secret_value()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+15550100=phone_call,*=reminder", {"+15550100": "phone_call", "*": "reminder"}),
        ('{"+15550100": "phone_call"}', {"+15550100": "phone_call"}),
        ('{"*": {"pipeline": "p", "greeting": "Hi"}}', {"*": "p"}),
    ],
)
def test_inbound_numbers_come_in_two_forms(
    monkeypatch: pytest.MonkeyPatch, value: str, expected: dict[str, str]
) -> None:
    monkeypatch.setenv("INBOUND_NUMBERS", value)
    routes = Settings().inbound_numbers
    assert {number: route.pipeline for number, route in routes.items()} == expected


@pytest.mark.parametrize(
    "value",
    [
        "phone_call",
        "+1555=",
        "[1]",
        "{broken",
        '{"+1": {"colour": "red"}}',
        '{"+1": null}',
        '{"15550100": "phone_call"}',
        "+1555=phone_call,+1555=reminder",
        '{"+1555": "phone_call", "+1555": "reminder"}',
    ],
)
def test_inbound_numbers_that_make_no_sense_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("INBOUND_NUMBERS", value)
    with pytest.raises(SettingsError, match="INBOUND_NUMBERS"):
        read_settings(None)


def test_a_number_that_is_not_named_falls_to_the_default_or_to_nobody() -> None:
    both = Settings.model_validate({"inbound_numbers": "+15550100=a,*=b"})
    only = Settings.model_validate({"inbound_numbers": "+15550100=a"})
    assert [both.inbound_route(n).pipeline for n in ("+15550100", "+49")] == ["a", "b"]  # type: ignore[union-attr]
    assert only.inbound_route("+49") is None


@pytest.mark.parametrize(
    ("allowed", "number", "answer"),
    [("+1555,+49", "+15550100123", True), ("+1555,+49", "+15600100123", False), ("*", "+3", True)],
)
def test_destinations_are_allowed_by_prefix(allowed: str, number: str, answer: bool) -> None:
    settings = Settings.model_validate({"allowed_destinations": allowed})
    assert settings.allows_destination(number) is answer


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("+15550100123", True),
        ("+19005550123", False),
        ("+15550100123\n", False),
        ("client:somebody", False),
        ("", False),
    ],
)
def test_callers_are_connected_only_to_numbers_that_may_be_called(
    number: str, answer: bool
) -> None:
    settings = Settings.model_validate({"allowed_destinations": "+1555"})
    assert settings.allows_transfer(number) is answer


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1


def test_the_address_follows_the_port_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8100")
    assert read_settings(None).base_url == "http://127.0.0.1:8100"
    assert read_settings(None, port=8200).base_url == "http://127.0.0.1:8200"
    monkeypatch.setenv("BASE_URL", "https://voice.example.com")
    assert read_settings(None, port=8200).base_url == "https://voice.example.com"


@pytest.mark.parametrize(
    ("addresses", "url"),
    [
        (["10.0.3.7"], "http://10.0.3.7:8100"),
        (["127.0.1.1", "172.18.0.4"], "http://172.18.0.4:8100"),
        (["::1", "fd00::7"], "http://[fd00::7]:8100"),
        (["127.0.0.1"], None),
        ([], None),
    ],
)
def test_an_instance_finds_its_own_address(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str], url: str | None
) -> None:
    def resolved(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        if not addresses:
            raise socket.gaierror
        return [(0, 0, 0, "", (address, 8100)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setenv("INSTANCE_URL", "auto")
    if url is None:
        with pytest.raises(SettingsError, match=r"INSTANCE_URL: .*no address"):
            read_settings(None, port=8100)
        return
    assert read_settings(None, port=8100).instance_url == url


def test_what_twilio_needs_is_named_when_it_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO_ACCOUNT_SID", "AC" + 32 * "0")
    missing = read_settings(None)
    assert missing.twilio_missing == "TWILIO_AUTH_TOKEN, TWILIO_PHONE_NUMBER"
    assert not missing.twilio_is_configured
    monkeypatch.setenv("TWILIO_AUTH_TOKEN", "secret")
    monkeypatch.setenv("TWILIO_PHONE_NUMBER", "+15550100999")
    assert read_settings(None).twilio_is_configured


def test_a_secret_may_be_a_file_and_the_environment_wins(
    tmp_path: Path, production: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twilio_auth_token").write_text("of-the-file\n")
    (tmp_path / "api_keys").write_text("one-key-of-at-least-24-chars,two-key-of-at-least-24-chars")
    production.setenv("SECRETS_FOLDER", str(tmp_path))
    production.setenv("API_KEYS", "")
    assert read_settings(None).twilio_auth_token == SecretStr(PRODUCTION["TWILIO_AUTH_TOKEN"])
    production.setenv("TWILIO_AUTH_TOKEN", "")
    settings = read_settings(None)
    assert settings.twilio_auth_token is not None
    assert settings.twilio_auth_token.get_secret_value() == "of-the-file"
    assert len(settings.api_keys) == 2


def test_a_folder_of_secrets_that_is_not_there_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS_FOLDER", str(tmp_path / "nothing"))
    assert read_settings(None).twilio_auth_token is None
