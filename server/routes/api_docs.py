"""Routes of the API's description: /openapi.json, and /docs with assets that come with the package.

They are for API clients: a browser asks for the key as a password.

Each document is made once, outside the event loop, and every answer shares its bytes. No page loads
anything from another host: the assets are Swagger UI's (Apache-2.0), as fastapi-offline ships them.
Source: https://fastapi.tiangolo.com/how-to/custom-docs-ui-assets/
"""

import asyncio
import json
from collections.abc import Callable
from html import escape
from importlib.resources import files

from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.responses import RedirectResponse

from server.resources import Opened
from server.routes.auth import MaySeeDetails, authenticate_reader

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# Without `validatorUrl`, Swagger UI would ask a public host to judge the description.
START = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  layout: "BaseLayout",
});
"""


def add_api_docs(app: FastAPI) -> None:
    """Add the routes; the app's own ones have to be turned off (`openapi_url=None`)."""
    page = PAGE.format(title=escape(app.title))
    _add(app, "/openapi.json", "application/json", lambda: _description(app))
    _add(app, "/docs", "text/html", page.encode)
    app.add_api_route("/", _front_door, include_in_schema=False)
    _add(app, "/docs/start.js", "text/javascript", START.encode)
    _add(app, "/docs/swagger-ui.css", "text/css", lambda: _asset("swagger-ui.css"))
    _add(
        app, "/docs/swagger-ui-bundle.js", "text/javascript", lambda: _asset("swagger-ui-bundle.js")
    )


async def _front_door(opened: Opened, detailed: MaySeeDetails) -> Response:
    """Lead to the description where no key is needed for it; otherwise there is nothing here."""
    if opened.settings.api_keys or not detailed:
        raise HTTPException(404)
    return RedirectResponse("/docs")


def _add(app: FastAPI, path: str, media_type: str, make: Callable[[], bytes]) -> None:
    document = _Document(make)

    async def answer() -> Response:
        return Response(await document.read(), media_type=media_type)

    app.add_api_route(
        path, answer, include_in_schema=False, dependencies=[Depends(authenticate_reader)]
    )


class _Document:
    """Bytes that are made in a thread when they are first asked for."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._made: bytes | None = None
        self._making = asyncio.Lock()

    async def read(self) -> bytes:
        """The bytes."""
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
        return self._made


def _description(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


def _asset(name: str) -> bytes:
    return files("fastapi_offline").joinpath("static", name).read_bytes()
