"""Local requests: what a server without API keys lets in, in development only.

A request is local when all of these hold:

- its peer has a loopback or private address, whatever its headers say
- its Host is `localhost` or such an address: a web page can make any other name resolve to this
  machine (DNS rebinding)
- all of its headers are such as clients send: proxies and tunnels, which connect from this machine
  for anybody, add others, of any name
- it comes from no page of another site, which a browser would send with its user's reach

Sources: https://www.rfc-editor.org/rfc/rfc7239, https://www.w3.org/TR/fetch-metadata/
"""

import re
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from starlette.datastructures import Headers

FROM_OTHER_SITE = "API_KEYS is not set: a page of another site is not let in."

_NEAR = [
    ip_network(near)
    for near in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
]
# What browsers, HTTP libraries and OpenTelemetry send.
_OF_CLIENTS = re.compile(
    r"accept|accept-[a-z]+|access-control-request-[a-z-]+|alt-used|authorization|baggage"
    r"|cache-control|connection|content-[a-z]+|cookie|date|dnt|expect|host|idempotency-key|if-[a-z-]+"
    r"|keep-alive|origin|postman-token|pragma|prefer|priority|purpose|range|referer|sec-[a-z0-9-]+"
    r"|te|traceparent|tracestate|trailer|transfer-encoding|upgrade|upgrade-insecure-requests"
    r"|user-agent|x-requested-with|x-twilio-signature"
)


def is_near(address: str | None) -> bool:
    """Whether this text is a loopback, private or link-local IP address."""
    try:
        ip = ip_address(address or "")
    except ValueError:
        return False
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in near for near in _NEAR)


def why_not_local(peer: str | None, headers: Headers) -> str | None:
    """Why a request of this peer may come from outside of this network; None: it cannot."""
    hosts = headers.getlist("host")
    if not is_near(peer):
        why = "the request comes from another address"
    elif len(hosts) != 1 or not _is_local_host(hosts[0]):
        why = "ask for the server as localhost or by such an address"
    elif of_proxy := next((name for name in headers if not _OF_CLIENTS.fullmatch(name)), None):
        why = f"the header {of_proxy[:64]} may be a proxy's or a tunnel's"
    else:
        return None
    return f"API_KEYS is not set, so only loopback and private addresses are let in: {why}."


def may_come_from_other_site(headers: Headers) -> bool:
    """Whether a browser may have sent this for a page of another site, port or scheme."""
    if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return True
    own = headers.get("host", "").lower()
    pages = headers.getlist("origin") + headers.getlist("referer")
    return any(_host_of_page(page) != own for page in pages)


def _is_local_host(host: str) -> bool:
    if not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", host):
        return False
    try:
        parts = urlsplit(f"//{host}")
        name, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    name = name.removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or is_near(name)


def _host_of_page(page: str) -> str | None:
    """Host and port of a page's address; None when it has none (`null`)."""
    try:
        parts = urlsplit(page)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None
