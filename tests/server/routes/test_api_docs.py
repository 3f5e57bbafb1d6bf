"""What `/docs` says of the API: every error has its shape, every answer an example that is true."""

import asyncio
import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from server.app import create_app
from server.calls import schemas
from server.calls.schemas import CallRequest
from server.http.response_headers import SECURITY_HEADERS
from server.routes.errors import Invalid
from server.settings.settings import Settings
from tests.server.conftest import Running, ServerFactory

ERRORS = {"Problem", "Invalid", "Readiness", "Health"}
SCHEMAS = {
    kind.__name__: kind
    for kind in vars(schemas).values()
    if isinstance(kind, type)
    and issubclass(kind, BaseModel)
    and kind.__module__ == "server.calls.schemas"
}


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def answers(api: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Operation, status and the model of each answer that is JSON."""
    return [
        (f"{method} {path}", int(status), media["schema"]["$ref"].split("/")[-1])
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
        for status, answer in operation["responses"].items()
        for kind, media in answer.get("content", {}).items()
        if kind == "application/json"
    ]


def test_every_error_has_a_shape_of_ours(api: dict[str, Any]) -> None:
    errors = [(who, status, model) for who, status, model in answers(api) if status >= 400]
    assert len(errors) > 20
    assert [found for found in errors if found[2] not in ERRORS] == []


def test_every_answer_of_the_calls_api_has_an_example_that_is_true(api: dict[str, Any]) -> None:
    models = {model for who, status, model in answers(api) if "/calls" in who and status < 400}
    assert models >= {
        *("CallView", "CallDetail", "CallPage", "CallResult"),
        *("Transcript", "EventPage"),
    }
    for name in {*models, "CallRequest"}:
        assert api["components"]["schemas"][name]["examples"], name
        # As it was declared: FastAPI leaves out what is null.
        for example in SCHEMAS[name].model_json_schema()["examples"]:
            read = SCHEMAS[name].model_validate(example)
            if name != "CallRequest":
                assert set(read.model_dump()) == set(example), name


@pytest.mark.parametrize("number", ["5550100", "+05550100", "+1555010012345678", "+1555\n", "+1"])
def test_a_wrong_number_is_answered_with_a_right_one(number: str) -> None:
    with pytest.raises(ValidationError, match=r"country code, such as \+15550100123"):
        CallRequest(phone_number=number)


def test_every_error_of_the_calls_api_has_an_example_of_its_own(api: dict[str, Any]) -> None:
    for path, methods in api["paths"].items():
        for method, operation in methods.items() if path.startswith("/calls") else ():
            examples = [
                answer["content"]["application/json"]["example"]["detail"]
                for status, answer in operation["responses"].items()
                if int(status) >= 400 and int(status) != 422
            ]
            assert len(set(examples)) == len(examples) >= 2, (method, path)


def test_every_webhook_says_what_it_reads_of_the_form(api: dict[str, Any]) -> None:
    webhooks = [methods["post"] for path, methods in api["paths"].items() if "/twilio" in path]
    assert len(webhooks) == 5
    for webhook in webhooks:
        form = webhook["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]
        assert "CallSid" in form["properties"]


def test_a_reader_finds_calls_first_and_each_route_in_words(api: dict[str, Any]) -> None:
    assert [tag["name"] for tag in api["tags"]] == ["calls", "twilio", "health"]
    assert all(tag["description"].endswith(".") for tag in api["tags"])
    assert next(iter(api["paths"])) == "/calls"
    operations = [one for methods in api["paths"].values() for one in methods.values()]
    # FastAPI makes these of the names of functions.
    of_functions = [
        one["summary"]
        for one in operations
        if one["operationId"].startswith(one["summary"].lower().replace(" ", "_") + "_")
    ]
    assert of_functions == []
    (key,) = [it for it in api["paths"]["/calls"]["post"]["parameters"] if it["in"] == "header"]
    assert "places no other call" in key["description"]


async def test_a_mistake_is_said_as_the_docs_show_it(server: Running) -> None:
    example = Invalid.model_json_schema()["examples"][0]
    answer = await server.http.post("/calls", json={"phone_number": "123"})
    assert (answer.status_code, answer.json()) == (422, example)


LOADS = re.compile(r"""(?:src|href|url|action)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')]+)""")


async def test_the_docs_load_nothing_from_another_host(server: Running) -> None:
    page = await server.http.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    loaded = [first or second for first, second in LOADS.findall(page.text)]
    assert "/docs/swagger-ui-bundle.js" in loaded
    for address in loaded:
        if address.startswith("data:"):
            continue
        assert re.match(r"/[^/]", address), address
        asset = await server.http.get(address)
        assert asset.status_code == 200
        assert len(asset.content) > 100
        if asset.headers["Content-Type"].startswith("text/css"):
            assert "@import" not in asset.text
            inner = [second for _, second in LOADS.findall(asset.text) if second]
            assert inner
            assert all(address.startswith("data:") for address in inner)
    start = (await server.http.get("/docs/start.js")).text
    # Otherwise Swagger UI asks a public host what it thinks of the description.
    assert "validatorUrl: null" in start
    assert re.findall(r"https?:", page.text + start) == []
    assert (await server.http.get("/redoc")).status_code == 404


async def test_the_description_is_served_as_it_is(server: Running, api: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(server.http.get("/openapi.json") for _ in range(5)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert answers[0].json() == json.loads(json.dumps(api))


async def test_every_answer_has_the_usual_security_headers(server: Running) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"no HTTP\r\n\r\n")
    refused = (await reader.read()).decode().lower()
    writer.close()
    assert refused.startswith("http/1.1 400")
    paths = ("/docs", "/openapi.json", "/metrics", "/health", "/health/ready", "/calls", "/nothing")
    answers = [await server.http.get(path) for path in paths]
    answers.append(await server.http.post("/twilio/inbound"))
    answers.append(await server.http.get("/calls", headers={"Host": "evil.local"}))
    for name, value in SECURITY_HEADERS:
        assert f"\r\n{name}: {value}\r\n".lower() in refused
        for answer in answers:
            assert answer.headers.get_list(name) == [value], answer.url
    policy = dict(SECURITY_HEADERS)["Content-Security-Policy"]
    assert "https:" not in policy
    assert "*" not in policy
    assert "script-src" not in policy, "scripts are ours only: no inline ones"


async def test_the_root_leads_to_the_docs_where_they_need_no_key(
    start_server: ServerFactory,
) -> None:
    async with start_server() as server:
        page = await server.http.get("/")
        assert (page.status_code, page.headers.get("Location")) == (307, "/docs")
        assert (await server.http.get("/", headers={"Host": "evil.com"})).status_code == 404
    async with start_server(api_keys="a-key-of-the-api") as server:
        page = await server.http.get("/", headers={"Authorization": "Bearer a-key-of-the-api"})
        assert (page.status_code, page.json()) == (404, {"detail": "Not Found"})
