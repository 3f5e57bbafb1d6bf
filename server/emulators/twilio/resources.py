"""Calls and accounts as Twilio's REST API shows them.

Source: https://www.twilio.com/docs/voice/api/call-resource#call-properties
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from server.emulators.twilio.call import API_VERSION, EmulatedCall

LARGEST_PAGE = 1_000
DEFAULT_PAGE = 50


def call_resource(call: EmulatedCall) -> dict[str, Any]:
    """One call."""
    uri = f"/{API_VERSION}/Accounts/{call.exchange.account_sid}/Calls/{call.sid}"
    duration = call.duration_secs
    return {
        "account_sid": call.exchange.account_sid,
        "annotation": None,
        "answered_by": call.answered_by,
        "api_version": API_VERSION,
        "caller_name": None,
        "date_created": format_datetime(call.created_at),
        "date_updated": format_datetime(call.updated_at),
        "direction": call.direction,
        "duration": None if duration is None else str(duration),
        "end_time": call.ended_at and format_datetime(call.ended_at),
        "forwarded_from": None,
        "from": call.order.from_,
        "from_formatted": call.order.from_,
        "group_sid": None,
        "parent_call_sid": None,
        "phone_number_sid": "",
        "price": None,
        "price_unit": "USD",
        "queue_time": "0",
        "sid": call.sid,
        "start_time": call.started_at and format_datetime(call.started_at),
        "status": call.status,
        "subresource_uris": {
            "notifications": f"{uri}/Notifications.json",
            "recordings": f"{uri}/Recordings.json",
        },
        "to": call.order.to,
        "to_formatted": call.order.to,
        "trunk_sid": None,
        "uri": f"{uri}.json",
    }


def account_resource(account_sid: str, status: str = "active") -> dict[str, Any]:
    """The account itself."""
    now = format_datetime(datetime.now(UTC))
    uri = f"/{API_VERSION}/Accounts/{account_sid}"
    return {
        "auth_token": None,
        "date_created": now,
        "date_updated": now,
        "friendly_name": "Emulated account",
        "owner_account_sid": account_sid,
        "sid": account_sid,
        "status": status,
        "subresource_uris": {"calls": f"{uri}/Calls.json"},
        "type": "Full",
        "uri": f"{uri}.json",
    }


def number_resource(
    account_sid: str, number: str, voice_url: str, *, has_voice: bool
) -> dict[str, Any]:
    """A phone number of the account.

    Source: https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource
    """
    sid = "PN" + sha256(number.encode()).hexdigest()[:32]
    return {
        "account_sid": account_sid,
        "capabilities": {"voice": has_voice, "sms": True, "mms": False, "fax": False},
        "friendly_name": number,
        "phone_number": number,
        "sid": sid,
        "status": "in-use",
        "status_callback": "",
        "status_callback_method": "POST",
        "uri": f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers/{sid}.json",
        "voice_fallback_url": "",
        "voice_method": "POST",
        "voice_url": voice_url,
    }


def page_of_numbers(
    account_sid: str, voice_urls: Mapping[str, str], mute: Collection[str], wanted: str | None
) -> dict[str, Any]:
    """The account's numbers on one page; `wanted` filters by the digits that it holds."""
    shown = [
        number_resource(account_sid, number, url, has_voice=number not in mute)
        for number, url in voice_urls.items()
        if wanted is None or wanted in number
    ]
    path = f"/{API_VERSION}/Accounts/{account_sid}/IncomingPhoneNumbers.json"
    return {
        "incoming_phone_numbers": shown,
        "end": max(len(shown) - 1, 0),
        "first_page_uri": path,
        "next_page_uri": None,
        "page": 0,
        "page_size": DEFAULT_PAGE,
        "previous_page_uri": None,
        "start": 0,
        "uri": path,
    }


def page_of(
    calls: Sequence[EmulatedCall], account_sid: str, query: Mapping[str, str]
) -> dict[str, Any]:
    """A page of the calls that the query asks for, newest first."""
    size = min(max(_whole(query.get("PageSize"), DEFAULT_PAGE), 1), LARGEST_PAGE)
    page = _whole(query.get("Page"), 0)
    found = [call for call in reversed(calls) if _is_asked_for(call, query)]
    start = page * size
    shown = found[start : start + size]
    path = f"/{API_VERSION}/Accounts/{account_sid}/Calls.json"

    def uri(number: int) -> str:
        return f"{path}?{urlencode({**query, 'PageSize': size, 'Page': number})}"

    return {
        "calls": [call_resource(call) for call in shown],
        "end": max(start + len(shown) - 1, 0),
        "first_page_uri": uri(0),
        "next_page_uri": uri(page + 1) if start + size < len(found) else None,
        "page": page,
        "page_size": size,
        "previous_page_uri": uri(page - 1) if page else None,
        "start": start,
        "uri": uri(page),
    }


def _is_asked_for(call: EmulatedCall, query: Mapping[str, str]) -> bool:
    exact = {"To": call.order.to, "From": call.order.from_, "Status": call.status}
    if any(name in query and query[name] != value for name, value in exact.items()):
        return False
    times = {"StartTime": call.started_at, "EndTime": call.ended_at}
    return all(_is_at(moment, name, query) for name, moment in times.items())


def _is_at(moment: datetime | None, name: str, query: Mapping[str, str]) -> bool:
    """`StartTime=day`, `StartTime<=moment`, `StartTime>=moment`, all in UTC."""
    day, before, after = (_time(query.get(name + sign)) for sign in ("", "<", ">"))
    if day is None and before is None and after is None:
        return True
    if moment is None:
        return False
    second = moment.replace(microsecond=0)
    return (
        (day is None or day.date() == second.date())
        and (before is None or second <= before)
        and (after is None or second >= after)
    )


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) + timedelta(days=36_500)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default
