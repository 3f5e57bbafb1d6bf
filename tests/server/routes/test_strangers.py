"""What somebody without a key learns of a server that has keys: that it is up, and no more."""

import re

import httpx
import pytest

from server.http.serving import held_port
from tests.server.conftest import Running, ServerFactory

FOR_CLIENTS = ("/metrics", "/docs", "/docs/start.js", "/docs/swagger-ui.css", "/openapi.json")
HEALTH = ("/health", "/health/live", "/health/ready")


async def test_a_stranger_learns_that_it_is_up_and_a_client_the_rest(
    start_server: ServerFactory,
) -> None:
    async with start_server(api_keys=("right",)) as server:
        for path in HEALTH:
            answer = await server.http.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
            known = await server.http.get(path, headers={"Authorization": "Bearer right"})
            assert known.json().keys() > {"status"}
        for path in FOR_CLIENTS:
            refused = await server.http.get(path)
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic ")
            assert (await server.http.get(path, auth=("anybody", "wrong"))).status_code == 401
            # As a browser and Prometheus send it.
            assert (await server.http.get(path, auth=("anybody", "right"))).status_code == 200
            bearer = {"Authorization": "Bearer right"}
            assert (await server.http.get(path, headers=bearer)).status_code == 200
        # A browser that was given the key for reading sends it for other sites, too.
        assert (await server.http.get("/calls", auth=("anybody", "right"))).status_code == 401


async def test_something_missing_is_named_to_clients_only(start_server: ServerFactory) -> None:
    async with start_server(api_keys=("right",), gemini_api_key=None) as server:
        answer = await server.http.get("/health/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        known = await server.http.get("/health/ready", auth=("", "right"))
        assert known.json()["checks"]["gemini"] == "GEMINI_API_KEY is not set"


@pytest.mark.parametrize("header", ["Basic %%%", "Basic /w==", "Digest right", "right"])
async def test_what_is_no_key_is_refused(start_server: ServerFactory, header: str) -> None:
    async with start_server(api_keys=("right",)) as server:
        refused = await server.http.get("/metrics", headers={"Authorization": header})
        assert refused.status_code == 401


async def test_without_keys_a_local_request_sees_all_and_a_tunnel_nothing(server: Running) -> None:
    tunnelled = {"X-Forwarded-For": "203.0.113.7"}
    for path in HEALTH:
        assert (await server.http.get(path)).json().keys() > {"status"}
        assert (await server.http.get(path, headers=tunnelled)).json() == {"status": "ok"}
    for path in FOR_CLIENTS:
        assert (await server.http.get(path)).status_code == 200
        assert (await server.http.get(path, headers=tunnelled)).status_code == 401


async def test_metrics_have_an_address_of_their_own(start_server: ServerFactory) -> None:
    with held_port() as port:
        async with (
            start_server(api_keys=("right",), metrics_address=f"127.0.0.1:{port}"),
            httpx.AsyncClient(trust_env=False) as prometheus,
        ):
            answer = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
            assert answer.status_code == 200
            assert re.search(r"(?m)^voice_ai_active_calls 0\.0$", answer.text)
            # Nobody asks for readiness, and it is checked.
            while 'voice_ai_ready{check="database"} 1.0' not in answer.text:
                answer = await prometheus.get(f"http://127.0.0.1:{port}/metrics")
        async with httpx.AsyncClient(trust_env=False) as prometheus:
            with pytest.raises(httpx.ConnectError):
                await prometheus.get(f"http://127.0.0.1:{port}/metrics")
