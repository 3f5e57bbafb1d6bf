"""Checks this machine: its ports, its disk, its clock."""

import asyncio
import errno
import shutil
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from agent.record.database_url import sqlite_file
from server.doctor.findings import Finding, fail, ok, reason, skip, warn
from server.settings.settings import Settings
from server.settings.written_values import parsed_listen_address
from server.twilio.rest_http import REST_ROOT

LOCAL = "127.0.0.1"
WITHIN_SECS = 5.0
FULL_BYTES = 100 * 1024**2
SCARCE_BYTES = 1024**3
# A stereo recording: two sides of 8,000 bytes a second.
RECORDING_BYTES_PER_HOUR = 2 * 8000 * 3600
# A Date header has whole seconds, and comes a little late.
SKEW_WARN_SECS = 3.0
SKEW_FAIL_SECS = 30.0


async def server_runs(settings: Settings) -> bool:
    """Whether a server of ours answers at PORT on this machine."""
    try:
        async with httpx.AsyncClient(timeout=WITHIN_SECS, trust_env=False) as http:
            answer = await http.get(f"http://{LOCAL}:{settings.port}/health/live")
        return answer.json().get("status") in ("ok", "broken")
    except (httpx.HTTPError, ValueError, AttributeError):
        return False


async def check_ports(settings: Settings, *, runs: bool) -> list[Finding]:
    """PORT and METRICS_ADDRESS: free, or the server's."""
    places = [("port", LOCAL, settings.port, "PORT")]
    if settings.metrics_address:
        host, port = parsed_listen_address(settings.metrics_address)
        places.append(("metrics port", host, port, "METRICS_ADDRESS"))
    return [_port(*place, runs=runs) for place in places]


def _port(name: str, host: str, port: int, variable: str, *, runs: bool) -> Finding:
    if runs and name == "port":
        return ok(name, f"{port}: the server runs")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((host, port))
            bound.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and runs:
            return ok(name, f"{host}:{port} is in use, while the server runs")
        why = "is used by another program" if error.errno == errno.EADDRINUSE else reason(error)
        return fail(name, f"{host}:{port} {why}", f"End it, or set {variable} to another.")
    return ok(name, f"{port} is free; the server does not run")


async def check_disk(settings: Settings) -> list[Finding]:
    """Room where the database and the recordings are."""
    found = []
    path = sqlite_file(settings.database_url)
    if path is not None:
        found.append(_disk("disk", path.parent, "the database"))
    if settings.recordings:
        folder = settings.recordings_folder.absolute()
        found.append(_disk("recordings disk", folder, "recordings", RECORDING_BYTES_PER_HOUR))
    return found


def _disk(name: str, folder: Path, what: str, hourly: int = 0) -> Finding:
    there = next((it for it in (folder, *folder.parents) if it.is_dir()), Path("/"))
    free = shutil.disk_usage(there).free
    says = f"{free / 1024**3:.1f} GB free for {what} in {folder}"
    if hourly:
        says += f": {free / hourly:,.0f} hours of calls"
    if free < FULL_BYTES:
        return fail(name, says, "Make room: records and recordings would be lost.")
    if free < SCARCE_BYTES:
        return warn(name, says, "Make room soon.")
    return ok(name, says)


async def check_clock(settings: Settings) -> list[Finding]:
    """This machine's clock beside that of Twilio's API."""
    name, root = "clock", settings.twilio_api_base_url or REST_ROOT
    try:
        async with httpx.AsyncClient(timeout=WITHIN_SECS) as http:
            answer = await http.head(root)
        theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (httpx.HTTPError, OSError, KeyError, ValueError) as error:
        return [skip(name, f"{root} tells no time: {reason(error)}")]
    ahead = await asyncio.to_thread(time.time) - theirs
    return [_skew(name, ahead, root)]


def _skew(name: str, ahead: float, root: str) -> Finding:
    says = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {root}"
    do = "Set the clock, by NTP: certificates, tokens and look-ups of calls need it."
    if abs(ahead) > SKEW_FAIL_SECS:
        return fail(name, says, do)
    if abs(ahead) > SKEW_WARN_SECS:
        return warn(name, says, do)
    return ok(name, f"right, as {root} tells it")
