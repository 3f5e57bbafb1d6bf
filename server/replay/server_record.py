"""What the server knows of a call, asked by its API as anybody would."""

from typing import Any

import httpx

from server.emulators.twilio import EmulatedCall


class ReplayBroken(Exception):
    """Nothing can be said of the scenario; the text says why."""


async def result_of(
    api: httpx.AsyncClient, call_id: str, call: EmulatedCall | None
) -> dict[str, Any]:
    """The outcome and the turns of a call that is over; without an id, of the one at Twilio.

    Raises: ReplayBroken when the server does not know it, or that it is over.
    """
    if not call_id and call is not None:
        call_id = await id_of(api, call) or ""
    if not call_id:
        raise ReplayBroken(
            "the server has no record of the call: are its Twilio settings the ones here?"
        )
    answer = await api.get(f"/calls/{call_id}/result", params={"wait": 60})
    if answer.status_code != 200:
        raise ReplayBroken(f"the server says that the call still lasts: {answer.text[:300]}")
    result: dict[str, Any] = answer.json()
    return result


async def id_of(api: httpx.AsyncClient, call: EmulatedCall) -> str | None:
    """The server's id of a call that it did not place, as soon as it knows one."""
    calls = (await api.get("/calls")).raise_for_status().json()["calls"]
    return next((str(known["id"]) for known in calls if known["twilio_sid"] == call.sid), None)


async def events_of(api: httpx.AsyncClient, call_id: str) -> list[dict[str, Any]]:
    """All events of a call, oldest first."""
    events: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        answer = await api.get(f"/calls/{call_id}/events", params={"after": after})
        page = answer.raise_for_status().json()
        events += page["events"]
        after = page["next_cursor"]
    return events
