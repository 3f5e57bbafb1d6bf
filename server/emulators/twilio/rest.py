"""Twilio's REST API, as far as calls need it: place, read, list, change.

Source: https://www.twilio.com/docs/voice/api/call-resource
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Protocol
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from server.emulators.twilio.call import EmulatedCall, WrongState
from server.emulators.twilio.errors import Code, RestError
from server.emulators.twilio.faults import Hang, Refuse, RestFault, ServerError, Slow
from server.emulators.twilio.faults import Request as Kind
from server.emulators.twilio.order import Form, read_document
from server.emulators.twilio.resources import (
    account_resource,
    call_resource,
    page_of,
    page_of_numbers,
)

API = "/2010-04-01/Accounts/{account_sid}"


class Office(Protocol):
    """What the API works for."""

    account_sid: str
    auth_token: str
    account_status: str
    # Ours; where incoming calls of each go; those that can carry no call.
    numbers: frozenset[str]
    voice_urls: dict[str, str]
    mute_numbers: set[str]

    @property
    def calls(self) -> list[EmulatedCall]:
        """Every call, oldest first."""
        ...

    def place(self, form: Form) -> EmulatedCall:
        """Place a call. Raises: RestError."""
        ...

    def next_fault(self, kind: Kind) -> RestFault | None:
        """What shall go wrong with this request."""
        ...

    def seen(self, method: str, path: str, form: Form, status: int | None) -> None:
        """A request was answered; None: it will never be."""
        ...


Work = Callable[[], Any]


def create_rest(office: Office, closing: asyncio.Event) -> FastAPI:
    """The API for one account. `closing` lets go of the requests that hang."""
    app = FastAPI(title="Twilio REST API (emulated)", docs_url=None, redoc_url=None)

    async def answer(request: Request, kind: Kind, account_sid: str, work: Work) -> Response:
        form = await _form(request)
        request.state.form = form
        try:
            _authenticate(office, request, account_sid)
            body = await _with_fault(office.next_fault(kind), lambda: work(), closing)
        except RestError as problem:
            response = _json(problem.body(), problem.status)
        except _NoAnswer:
            office.seen(request.method, request.url.path, form, None)
            await closing.wait()
            return Response(status_code=503)
        else:
            response = _json(body, 201 if kind == "create" else 200)
        office.seen(request.method, request.url.path, form, response.status_code)
        return response

    def find(call_sid: str, path: str) -> EmulatedCall:
        call = next((call for call in office.calls if call.sid == call_sid), None)
        if call is None:
            raise RestError(Code.NOT_FOUND, f"The requested resource {path} was not found")
        return call

    @app.post(API + "/Calls.json")
    async def create(account_sid: str, request: Request) -> Response:
        def work() -> Any:
            return call_resource(office.place(request.state.form))

        return await answer(request, "create", account_sid, work)

    @app.get(API + "/Calls.json")
    async def list_calls(account_sid: str, request: Request) -> Response:
        def work() -> Any:
            query = parse_qsl(request.url.query)
            return page_of(office.calls, account_sid, dict(query))

        return await answer(request, "list", account_sid, work)

    @app.get(API + "/Calls/{call_sid}.json")
    async def fetch(account_sid: str, call_sid: str, request: Request) -> Response:
        def work() -> Any:
            return call_resource(find(call_sid, request.url.path))

        return await answer(request, "fetch", account_sid, work)

    @app.post(API + "/Calls/{call_sid}.json")
    async def update(account_sid: str, call_sid: str, request: Request) -> Response:
        def work() -> Any:
            call = find(call_sid, request.url.path)
            _update(call, request.state.form, request.url.path)
            return call_resource(call)

        return await answer(request, "update", account_sid, work)

    @app.get(API + "/IncomingPhoneNumbers.json")
    async def numbers(account_sid: str, request: Request) -> Response:
        def work() -> Any:
            wanted = dict(parse_qsl(request.url.query)).get("PhoneNumber")
            return page_of_numbers(
                account_sid,
                {it: office.voice_urls.get(it, "") for it in sorted(office.numbers)},
                office.mute_numbers,
                wanted,
            )

        return await answer(request, "numbers", account_sid, work)

    @app.get(API + ".json")
    async def account(account_sid: str, request: Request) -> Response:
        def work() -> Any:
            return account_resource(account_sid, office.account_status)

        return await answer(request, "account", account_sid, work)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, problem: HTTPException) -> Response:
        error = RestError(
            Code.NOT_FOUND if problem.status_code == 404 else Code.INTERNAL,
            f"The requested resource {request.url.path} was not found",
            problem.status_code,
        )
        office.seen(request.method, request.url.path, {}, error.status)
        return _json(error.body(), error.status)

    return app


def _json(body: Any, status: int) -> Response:
    return JSONResponse(body, status, {"Date": formatdate(usegmt=True)})


class _NoAnswer(Exception):
    """This request is never answered."""


async def _with_fault(fault: RestFault | None, work: Work, closing: asyncio.Event) -> Any:
    match fault:
        case Refuse(code, message, status):
            raise RestError(code, message, status)
        case ServerError(status, placed):
            if placed:
                work()
            raise RestError(Code.INTERNAL, "An internal server error has occurred", status)
        case Hang(placed):
            if placed:
                work()
            raise _NoAnswer
        case Slow(secs):
            body = work()
            await asyncio.sleep(secs)
            return body
    return work()


def _update(call: EmulatedCall, form: Form, path: str) -> None:
    status = form["Status"][-1] if form.get("Status") else ""
    if status:
        if status not in ("completed", "canceled"):
            raise RestError(Code.NOT_IN_PROGRESS, f"Invalid Status: {status}")
        if call.state.is_over:
            raise RestError(
                Code.NOT_FOUND,
                f"Unable to update record: The requested resource {path} was not found",
            )
        if status == "canceled" and call.line is not None:
            raise RestError(Code.NOT_IN_PROGRESS, "Call is in-progress. Cannot cancel.")
        call.hang_up("api")
        return
    try:
        call.redirect(read_document(form))
    except WrongState as problem:
        raise RestError(Code.NOT_IN_PROGRESS, str(problem)) from None


def _authenticate(office: Office, request: Request, account_sid: str) -> None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        name = password = ""
    known = name == office.account_sid == account_sid
    right = hmac.compare_digest(password.encode(), office.auth_token.encode())
    if scheme.lower() != "basic" or not known or not right:
        raise RestError(Code.UNAUTHORISED, "Authenticate")


async def _form(request: Request) -> dict[str, list[str]]:
    form: dict[str, list[str]] = {}
    pairs = parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
    for name, value in pairs:
        form.setdefault(name, []).append(value)
    return form
