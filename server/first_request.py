"""A request before anybody's: the framework prepares its routes when it is first asked for one."""

from collections.abc import MutableMapping
from typing import Any

from fastapi import FastAPI

# A path that no route has: all of them are looked at, and none is run.
NOWHERE = "/-"


async def rehearse(app: FastAPI) -> int:
    """Ask for what is not there, in this process, before the app is open; returns the HTTP status.

    The first caller's webhook would wait for it otherwise, and every call that is on the line.
    """
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": NOWHERE,
        "raw_path": NOWHERE.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "server": None,
        "client": None,
        "state": {},
    }
    await app(scope, receive, send)
    return statuses[0]
