"""Settings: reads and validates the environment and `.env`; nothing else reads them.

The environment wins over the `.env` file of the working folder, and that over the files of
SECRETS_FOLDER. The file's values are also put into
`os.environ`, because vendors' SDKs and OpenSSL read some there (GOOGLE_GEMINI_BASE_URL,
SSL_CERT_FILE).
"""

import os
import re
import secrets
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.settings.cassette_values import Which, parse_which
from server.settings.inbound_numbers import InboundRoute, parse_routes
from server.settings.profile_fields import E164, PhoneNumber
from server.settings.written_values import (
    ACCOUNT_SID,
    OWN_ADDRESS,
    checked_authority,
    checked_database_url,
    checked_host_and_port,
    checked_web_address,
    checked_word,
    own_address,
    parsed_listen_address,
    read_key,
)

DEFAULT_PIPELINE = "phone_call"
LOG_LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
NEEDED_IN_PRODUCTION = (
    "api_keys",
    "stream_token_secret",
    "twilio_account_sid",
    "twilio_auth_token",
    "twilio_phone_number",
    "gemini_api_key",
    "allowed_destinations",
)
# Where Docker, Podman and Kubernetes mount secrets, each a file named for its variable.
SECRETS_FOLDER = Path("/run/secrets")
READ_BY_SDKS = ("GOOGLE_GEMINI_BASE_URL", "SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT")
# Shorter ones can be guessed by brute force.
LONG_ENOUGH_KEY = 24
LONG_ENOUGH_SECRET = 32


class SettingsError(Exception):
    """The settings are invalid; the message names each variable and what is wrong."""


class Settings(BaseSettings):
    """Everything that can be configured; docs/settings.md says what each one means."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    environment: Literal["development", "production"] = "development"
    secrets_folder: Path = SECRETS_FOLDER
    log_level: str = "INFO"
    log_personal_data: bool = False

    base_url: str = "http://127.0.0.1:8000"
    port: int = Field(default=8000, ge=0, le=65_535)
    instance_url: str | None = None
    metrics_address: str | None = None
    drain_timeout: int = Field(default=60, ge=0, le=86_400)

    twilio_account_sid: str | None = None
    twilio_auth_token: SecretStr | None = None
    twilio_phone_number: PhoneNumber | None = None
    twilio_api_base_url: str | None = None

    gemini_api_key: SecretStr | None = None
    gemini_model: str = "models/gemini-3.8-live"
    gemini_voice: str | None = None
    google_gemini_base_url: str | None = None
    ssl_cert_file: str | None = None

    otel_exporter_otlp_endpoint: str | None = None

    database_url: str = Field(default="sqlite+aiosqlite:///voice-ai.db", repr=False)
    db_pool_size: int = Field(default=20, ge=1, le=500)
    redis_url: str | None = Field(default=None, repr=False)
    redis_session_ttl: int = Field(default=7200, ge=1)
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    temporal_tls: bool = False
    temporal_api_key: SecretStr | None = None
    temporal_codec_key: SecretStr | None = None
    temporal_build_id: str | None = None
    temporal_metrics_address: str | None = None
    temporal_ui_url: str | None = None

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    stream_token_secret: SecretStr | None = None
    allowed_destinations: Annotated[tuple[str, ...], NoDecode] = ()
    daily_call_limit: int = Field(default=1000, ge=0)

    pipelines: Annotated[tuple[str, ...], NoDecode] = ()
    default_pipeline: str = DEFAULT_PIPELINE
    inbound_numbers: Annotated[dict[str, InboundRoute], NoDecode] = Field(
        default_factory=lambda: {"*": InboundRoute(pipeline=DEFAULT_PIPELINE)}
    )
    max_concurrent_calls: int = Field(default=50, ge=1)
    max_fleet_calls: int = Field(default=0, ge=0)
    overload_lag_ms: int = Field(default=200, ge=0, le=10_000)
    ring_timeout_seconds: int = Field(default=60, ge=5, le=600)
    prewarm_limit: int = Field(default=50, ge=0)
    greeting_cache: bool = True
    answer_filler: bool = True
    inbound_pool: int = Field(default=0, ge=0, le=20)
    inbound_queue_seconds: int = Field(default=0, ge=0, le=3600)
    answer_hold_ms: int = Field(default=0, ge=0, le=10_000)

    record_spool_folder: Path = Path("record-spool")
    recordings: bool = False
    recordings_folder: Path = Path("recordings")
    recording_max_secs: int = Field(default=3600, ge=1, le=86_400)
    recordings_keep_days: int = Field(default=30, ge=0, le=36_500)

    cloudwatch_namespace: str | None = None
    ecs_agent_uri: str | None = None
    # "off", "all", "failed", or a share of all calls.
    cassettes: Annotated[Which, BeforeValidator(parse_which)] = "off"
    cassettes_folder: Path = Path("cassettes")
    cassettes_keep_days: int = Field(default=30, ge=0, le=36_500)
    cassette_max_mb: int = Field(default=64, ge=1, le=4096)
    cassette_key: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _stripped(cls, data: Any) -> Any:
        """Take off spaces and ends of lines; what is empty then counts as not set."""
        if not isinstance(data, dict):
            return data
        stripped = {
            name: value.strip() if isinstance(value, str) else value for name, value in data.items()
        }
        return {name: value for name, value in stripped.items() if value != ""}

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in LOG_LEVELS:
            raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
        return value.upper()

    @field_validator("temporal_address", "temporal_metrics_address")
    @classmethod
    def _host_and_port(cls, value: str | None) -> str | None:
        return value if value is None else checked_host_and_port(value)

    @field_validator("temporal_codec_key", "cassette_key")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            read_key(value.get_secret_value())
        return value

    @field_validator(
        "base_url",
        "twilio_api_base_url",
        "google_gemini_base_url",
        "temporal_ui_url",
        "ecs_agent_uri",
        "otel_exporter_otlp_endpoint",
    )
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        return value if value is None else checked_web_address(value)

    @field_validator("instance_url")
    @classmethod
    def _own_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value == OWN_ADDRESS:
            return own_address(info.data.get("port"))
        return value if value is None else checked_web_address(value)

    @field_validator(
        "twilio_account_sid",
        "gemini_model",
        "gemini_voice",
        "twilio_auth_token",
        "gemini_api_key",
        "temporal_namespace",
        "temporal_api_key",
        "temporal_build_id",
        "cloudwatch_namespace",
    )
    @classmethod
    def _one_word(cls, value: Any) -> Any:
        return value if value is None else checked_word(value)

    @field_validator("metrics_address")
    @classmethod
    def _place_to_listen(cls, value: str | None) -> str | None:
        if value is not None:
            parsed_listen_address(value)
        return value

    @field_validator("api_keys")
    @classmethod
    def _key_words(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            checked_word(key)
        return value

    @field_validator("twilio_account_sid")
    @classmethod
    def _account(cls, value: str | None) -> str | None:
        if value is not None and not ACCOUNT_SID.fullmatch(value):
            raise ValueError(
                "must be the account's SID: AC and 32 hexadecimal digits, as Twilio's console "
                "shows it"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        return checked_database_url(value)

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must start with redis://, rediss:// or unix://")
        return value if value is None else checked_authority(value)

    @field_validator("google_gemini_base_url")
    @classmethod
    def _only_by_tls(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("https://"):
            raise ValueError("must be an https:// address: the SDK connects by TLS only")
        return value

    @field_validator("ssl_cert_file")
    @classmethod
    def _is_there(cls, value: str | None) -> str | None:
        if value is not None and not Path(value).is_file():
            raise ValueError("there is no such file (an emulator writes it when it starts)")
        return value

    @field_validator("api_keys", "allowed_destinations", "pipelines", mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return _parts(value) if isinstance(value, str) else value

    @field_validator("allowed_destinations")
    @classmethod
    def _prefixes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for prefix in value:
            digits = prefix.removeprefix("+")
            if prefix != "*" and not (prefix != digits and digits.isascii() and digits.isdigit()):
                raise ValueError("must be prefixes such as +1,+4930, or * for every number")
        return value

    @field_validator("inbound_numbers", mode="before")
    @classmethod
    def _routes(cls, value: Any) -> Any:
        return parse_routes(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _reached_where_it_listens(self) -> "Settings":
        # Port 0 is any free port, not known yet.
        if "base_url" not in self.model_fields_set and self.port:
            object.__setattr__(self, "base_url", f"http://127.0.0.1:{self.port}")
        return self

    @model_validator(mode="after")
    def _fit_for_production(self) -> "Settings":
        if self.environment == "production":
            missing = [name for name in NEEDED_IN_PRODUCTION if not getattr(self, name)]
            problems = [f"{name.upper()}: is needed in production" for name in missing]
            problems += self._weak_secrets()
            if not self.base_url.startswith("https://"):
                problems.append("BASE_URL: must be an https:// address in production")
            if problems:
                raise ValueError("\n".join(problems))
        elif self.stream_token_secret is None:
            secret = SecretStr(secrets.token_hex(32))
            object.__setattr__(self, "stream_token_secret", secret)
        return self

    def _weak_secrets(self) -> list[str]:
        says = "{}: must have at least {} characters in production (openssl rand -hex 32)"
        weak = []
        if any(len(key.get_secret_value()) < LONG_ENOUGH_KEY for key in self.api_keys):
            weak.append(says.format("API_KEYS: each key", LONG_ENOUGH_KEY))
        secret = self.stream_token_secret
        if secret is not None and len(secret.get_secret_value()) < LONG_ENOUGH_SECRET:
            weak.append(says.format("STREAM_TOKEN_SECRET", LONG_ENOUGH_SECRET))
        return weak

    @property
    def log_level_number(self) -> int:
        """LOG_LEVEL as the standard library's logging counts."""
        return LOG_LEVELS[self.log_level]

    @property
    def twilio_is_configured(self) -> bool:
        """Whether calls can be placed."""
        return not self.twilio_missing

    @property
    def twilio_missing(self) -> str:
        """The missing variables without which no call can be placed."""
        needed = ("twilio_account_sid", "twilio_auth_token", "twilio_phone_number")
        return ", ".join(name.upper() for name in needed if not getattr(self, name))

    @property
    def stream_base_url(self) -> str:
        """BASE_URL as Twilio's media streams see it: ws for http, wss for https."""
        return "ws" + self.base_url.removeprefix("http")

    def workflow_url(self, call_id: str) -> str | None:
        """The page of a call's workflow, where TEMPORAL_UI_URL says."""
        if self.temporal_ui_url is None:
            return None
        return f"{self.temporal_ui_url}/namespaces/{self.temporal_namespace}/workflows/{call_id}"

    def allows_destination(self, phone_number: str) -> bool:
        """Whether a call to this number may be placed."""
        if not self.allowed_destinations:
            return self.environment == "development"
        return any(p == "*" or phone_number.startswith(p) for p in self.allowed_destinations)

    def allows_transfer(self, phone_number: str) -> bool:
        """Whether a tool may transfer a caller to this number, which may be any text."""
        return bool(re.fullmatch(E164, phone_number)) and self.allows_destination(phone_number)

    def caller_id(self, our_address: str) -> str | None:
        """The number of ours that a transfer from this address shows; None: we have none.

        A call to a SIP address or to an app has no number of its own to show.
        """
        called = our_address if re.fullmatch(E164, our_address) else None
        return called or self.twilio_phone_number

    def inbound_route(self, our_number: str) -> InboundRoute | None:
        """The route of this number; None: it is not in service."""
        return self.inbound_numbers.get(our_number) or self.inbound_numbers.get("*")


def read_settings(env_file: Path | None = Path(".env"), *, port: int | None = None) -> Settings:
    """The settings of this process; `port` wins over PORT.

    Raises: SettingsError, with one line for each variable that is wrong, and no values.
    """
    if env_file is not None and env_file.is_file():
        for name, value in dotenv_values(env_file).items():
            if value:
                os.environ.setdefault(name, value)
    try:
        folder = _secrets_folder()
        settings = (
            Settings(_secrets_dir=folder)
            if port is None
            else Settings(_secrets_dir=folder, port=port)
        )
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    _hand_to_sdks(settings)
    return settings


def _secrets_folder() -> Path | None:
    folder = Path(os.environ.get("SECRETS_FOLDER", "").strip() or SECRETS_FOLDER)
    return folder if folder.is_dir() else None


def read_pipelines(env_file: Path = Path(".env")) -> tuple[str, ...]:
    """PIPELINES alone, for what needs no other setting."""
    in_file = dotenv_values(env_file).get("PIPELINES") if env_file.is_file() else None
    return _parts(os.environ.get("PIPELINES") or in_file or "")


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _hand_to_sdks(settings: Settings) -> None:
    """Write back, as they were parsed, the variables that SDKs and OpenSSL read themselves."""
    for name in READ_BY_SDKS:
        if name in os.environ:
            value = getattr(settings, name.lower())
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def names_set(*names: str) -> list[str]:
    """Those of the variables that are set, of which an SDK reads some itself."""
    return [name for name in names if os.environ.get(name)]


def names_that_differ(env_file: Path = Path(".env")) -> list[str]:
    """Names in the file whose value the environment overrides."""
    if not env_file.is_file():
        return []
    said = dotenv_values(env_file)
    return sorted(
        name
        for name, value in said.items()
        if value and os.environ.get(name, "").strip() != value.strip()
    )


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        says = problem["msg"].removeprefix("Value error, ")
        where = ".".join(str(part) for part in problem["loc"][1:])
        name = str(problem["loc"][0]).upper() if problem["loc"] else ""
        prefix = f"{name}: " + (f"{where}: " if where else "") if name else ""
        lines += [f"  {prefix}{line}" for line in says.splitlines()]
    return "The settings cannot be used (see docs/settings.md):\n" + "\n".join(lines)
