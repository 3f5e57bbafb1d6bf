"""Parses a database URL as hosted databases give it, into one that SQLAlchemy and asyncpg take.

    postgres://me:secret@host/calls?sslmode=require&channel_binding=require

asyncpg speaks TLS by a parameter of its own (`ssl`), and knows nothing else of what libpq reads
from a URL. Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
"""

import ssl
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
# What libpq and other drivers read, and asyncpg does by itself or has no use for.
_DROPPED = (
    *("channel_binding", "sslnegotiation", "gssencmode", "target_session_attrs", "keepalives"),
    *("keepalives_idle", "keepalives_interval", "keepalives_count", "connection_limit"),
    *("pool_timeout", "schema"),
)
# Sent to the server when a connection begins.
_OF_THE_SERVER = ("application_name", "options", "search_path")
# SQLAlchemy's and asyncpg's own.
_KEPT = ("host", "port", "command_timeout", "prepared_statement_cache_size")
POOLER_PORT = 6543


def parse_database_url(database_url: str) -> tuple[URL, dict[str, Any]]:
    """The URL for SQLAlchemy, and the arguments of each connection.

    Prepared statements are not kept from one transaction to the next, as a pooler needs that gives
    each transaction another connection (`pgbouncer=true`, or `-pooler` or port 6543 in the host).

    Raises: ValueError, with a sentence that quotes no password.
    """
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise ValueError("must be an SQLAlchemy URL") from None
    if url.get_backend_name() in ("postgres", "postgresql"):
        return _postgresql(url.set(drivername="postgresql+asyncpg"))
    return url, {}


def _postgresql(url: URL) -> tuple[URL, dict[str, Any]]:
    query = dict(url.query)
    arguments: dict[str, Any] = {}
    modes = [query.pop(name) for name in ("sslmode", "ssl") if name in query]
    if modes:
        if modes[0] not in SSL_MODES:
            raise ValueError(f"its sslmode must be one of {', '.join(SSL_MODES)}")
        arguments["ssl"] = modes[0]
    if "sslrootcert" in query:
        arguments["ssl"] = _trusting(query.pop("sslrootcert"), arguments.get("ssl"))
    if "connect_timeout" in query:
        arguments["timeout"] = _seconds(query.pop("connect_timeout"))
    for name in _DROPPED:
        query.pop(name, None)
    told = {name: query.pop(name) for name in _OF_THE_SERVER if name in query}
    if told:
        arguments["server_settings"] = told
    pooled = query.pop("pgbouncer", "") == "true"
    if pooled or url.port == POOLER_PORT or "-pooler." in (url.host or ""):
        arguments["statement_cache_size"] = 0
        arguments["prepared_statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = _unique_name
    if unknown := sorted(query.keys() - set(_KEPT)):
        raise ValueError(f"has a parameter that is not known: {unknown[0][:40]!r}")
    return url.set(query=query), arguments


def _trusting(path: Any, mode: Any) -> ssl.SSLContext:
    """Trust the authorities in a file, or the system's."""
    try:
        context = ssl.create_default_context(cafile=None if path == "system" else path)
    except OSError:
        raise ValueError("its sslrootcert must be a file of certificates, or system") from None
    context.check_hostname = path == "system" or mode == "verify-full"
    return context


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError("its connect_timeout must be a number of seconds") from None


def _unique_name() -> str:
    return f"__asyncpg_{uuid4().hex}__"


def shown_database(database_url: str) -> str:
    """The database's URL with the whole path of a file, and without its password."""
    url, _ = parse_database_url(database_url)
    if path := sqlite_file(database_url):
        url = url.set(database=str(path))
    return url.render_as_string(hide_password=True)


def sqlite_file(database_url: str) -> Path | None:
    """The whole path of the database's file; None: it is no file."""
    url, _ = parse_database_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database).absolute()
