"""Checks of how a setting's value is written: web addresses, keys, URLs of databases.

Each raises ValueError with a sentence that says what to write, and never quotes the value, which
may hold a password.
"""

import base64
import binascii
import re
import socket
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import SecretStr

KEY_BYTES = 32
ACCOUNT_SID = re.compile(r"AC[0-9a-fA-F]{32}")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")
_VISIBLE = re.compile(r"[!-~]+")
ENCODE_IT = (
    "a password in a URL has to be percent-encoded: write %23 for #, %2F for /, %40 for @, %3A "
    "for :, %3F for ?, %25 for %, %5B and %5D for [ and ]"
)

Word = TypeVar("Word", str, SecretStr)


def checked_word(value: Word) -> Word:
    """A key, a token or a name: visible ASCII without spaces, and not in quotes."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not _VISIBLE.fullmatch(text):
        raise ValueError("must not have spaces, ends of lines or characters beyond ASCII inside")
    if text[0] in "\"'" or text[-1] in "\"'":
        raise ValueError("must be written without quotes around it")
    return value


# INSTANCE_URL: as the machine's own name resolves.
OWN_ADDRESS = "auto"


def checked_web_address(value: str) -> str:
    """An http or https address, without a slash at its end."""
    try:
        # urlsplit itself would drop ends of lines from inside.
        parts = urlsplit(value) if _VISIBLE.fullmatch(value) else None
        usable = (
            parts is not None
            and parts.scheme in ("http", "https")
            and _HOST.fullmatch(parts.hostname or "") is not None
            and ".." not in (parts.hostname or "")
            and parts.port != 0
            and "//" not in parts.path
        )
    except ValueError:
        usable = False
    if not usable or parts is None:
        raise ValueError("must be an address such as https://voice.example.com")
    if "?" in value or "#" in value or parts.username is not None or parts.password is not None:
        raise ValueError("must not have a query, a fragment or credentials")
    return value.rstrip("/")


def own_address(port: int | None) -> str:
    """The web address of this machine or container, as its own name resolves, with this port."""
    if not port:
        raise ValueError(f"{OWN_ADDRESS} needs a PORT that is known")
    try:
        found = socket.getaddrinfo(socket.gethostname(), port, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    addresses = [str(address[0]) for *_, address in found]
    outside = [it for it in addresses if not ip_address(it.partition("%")[0]).is_loopback]
    if not outside:
        raise ValueError("this machine's name has no address that others reach: write it out")
    host = outside[0]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def checked_database_url(value: str) -> str:
    """The URL of a database that `open_engine` opens."""
    if not value.startswith(
        ("sqlite+aiosqlite://", "postgresql+asyncpg://", "postgresql://", "postgres://")
    ):
        raise ValueError(
            "must be an SQLAlchemy URL that starts with sqlite+aiosqlite:// or "
            "postgresql+asyncpg://, or a hosted database's postgresql:// or postgres://"
        )
    if value.startswith("postgres"):
        # It imports SQLAlchemy, which commands that need no database need not wait for.
        from agent.record.database_url import parse_database_url

        checked_authority(value)
        parse_database_url(value)
    return value


def checked_authority(url: str) -> str:
    """A URL whose user, password, host and port can be told apart."""
    if not url.isprintable():
        raise ValueError("must not have ends of lines or other control characters inside")
    if _has_raw_password(url):
        raise ValueError(ENCODE_IT)
    try:
        usable = urlsplit(url).port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must have a port from 1 to 65535, or none")
    return url


def _has_raw_password(url: str) -> bool:
    """Whether a `#`, `/`, `?`, `@` or bracket of a password ends the authority too early.

    An @ behind the authority is then the one in front of the host: `user:pa/ss@host`.
    """
    rest = url.partition("://")[2]
    if url.startswith("unix"):
        return False
    authority, behind = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    credentials, at, host = authority.rpartition("@")
    if at:
        return re.search(r"[@\[\]]", credentials) is not None
    # Without an @ in front, what looks like host:port is user:the beginning of the password. An @
    # may also be in a query behind a real port.
    before_query = behind.partition("?")[0] if re.search(r":[0-9]+$", host) else behind
    return ":" in host and "@" in before_query


def read_key(text: str) -> bytes:
    """The 32 bytes of a key, which is written in base64. Raises: ValueError."""
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be 32 bytes in base64: openssl rand -base64 32 makes one")
    return key


def checked_host_and_port(value: str) -> str:
    """An address as `host:port`."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise ValueError("must be host:port, without a scheme")
    return value


def parsed_listen_address(value: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, with an IPv6 address in brackets."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.netloc != value or not _HOST.fullmatch(host):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:9100")
    return host, port


def without_password(url: str) -> str:
    """The URL without the user and password in it."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
