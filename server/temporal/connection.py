"""Connects to Temporal as the settings say, with TLS, API key, encryption and metrics."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RetryConfig

from server.settings.settings import Settings
from server.temporal.codec import EncryptedPayloads

# A call's webhook does not wait longer for a server that is restarting.
RETRIES = RetryConfig(
    initial_interval_millis=50, max_interval_millis=500, max_elapsed_time_millis=1500
)


def connector(settings: Settings) -> Callable[[], Awaitable[Client]]:
    """A function that connects, for as many attempts as it takes.

    Its metrics are served at one port from now on, whether it connects or not.
    """
    runtime = _runtime(settings)

    async def connect() -> Client:
        key = settings.temporal_api_key
        assert settings.temporal_address is not None, "asked for only when it is set"
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            tls=settings.temporal_tls or key is not None,
            api_key=key.get_secret_value() if key else None,
            data_converter=data_converter(settings),
            retry_config=RETRIES,
            runtime=runtime,
        )

    return connect


def data_converter(settings: Settings) -> DataConverter:
    """JSON, encrypted when TEMPORAL_CODEC_KEY is set."""
    key = settings.temporal_codec_key
    codec = EncryptedPayloads(key.get_secret_value()) if key else None
    return replace(DataConverter.default, payload_codec=codec)


def _runtime(settings: Settings) -> Runtime | None:
    address = settings.temporal_metrics_address
    if address is None:
        return None
    # As the dashboards that Temporal publishes expect them.
    metrics = PrometheusConfig(bind_address=address, counters_total_suffix=False, unit_suffix=False)
    return Runtime(telemetry=TelemetryConfig(metrics=metrics))
