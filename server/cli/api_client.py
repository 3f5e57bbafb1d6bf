"""The calls API of a running server, as the commands use it; errors end them with a sentence."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from server.cli.environment import echo, settings_or_exit

if TYPE_CHECKING:
    import httpx

WHOLE_ID = 32
CALL_ID = re.compile(r"[0-9a-f]{1,32}")

ServerOption = Annotated[
    str | None,
    typer.Option("--server", help="The server's address; this machine's by default."),
]
KeyOption = Annotated[
    str | None, typer.Option("--api-key", help="The API key; the first of API_KEYS by default.")
]


class CallsApi:
    """A client of the calls API; use it as a context manager."""

    def __init__(self, server: str | None, api_key: str | None) -> None:
        # Neither `--help` nor `serve` needs it.
        import httpx

        if server is None or api_key is None:
            settings = settings_or_exit()
            server = server or f"http://127.0.0.1:{settings.port}"
            if api_key is None and settings.api_keys:
                api_key = settings.api_keys[0].get_secret_value()
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._server = server.rstrip("/")
        self._http = httpx.Client(base_url=self._server, headers=headers, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(
        self, path: str, params: Mapping[str, Any] | None = None, *, timeout: float = 30
    ) -> "httpx.Response":
        """Read something."""
        return self._ask("GET", path, params=dict(params or {}), timeout=timeout)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> "httpx.Response":
        """Ask for something to be done."""
        return self._ask("POST", path, json=body)

    def delete(self, path: str) -> "httpx.Response":
        """Erase something."""
        return self._ask("DELETE", path)

    def call_id(self, beginning: str) -> str:
        """The whole id of the one call whose id begins so; none or several end the command."""
        if not CALL_ID.fullmatch(beginning):
            raise _failed(f"There is no call with this id: {beginning!r}.")
        if len(beginning) == WHOLE_ID:
            return beginning
        found = self.get("/calls", {"id_prefix": beginning, "limit": 10}).json()["calls"]
        if not found:
            raise _failed(f"There is no call with this id: its beginning is {beginning!r}.")
        if len(found) > 1:
            ids = ", ".join(call["id"][: len(beginning) + 4] for call in found)
            raise _failed(f"More than one call's id begins with {beginning!r}: {ids}.")
        return str(found[0]["id"])

    def every(self, path: str, name: str) -> list[dict[str, Any]]:
        """All pages of a list of events, one after the other."""
        found: list[dict[str, Any]] = []
        cursor: int | None = 0
        while cursor is not None:
            page = self.get(path, {"after": cursor, "limit": 500}).json()
            found += page[name]
            cursor = page["next_cursor"]
        return found

    def download(self, path: str, to: Path) -> int:
        """Write what is there into a file, which is only there when it is whole; its bytes."""
        part = to.with_name(f"{to.name}.part")
        try:
            with self._sentences(), self._http.stream("GET", path) as answer:
                if answer.is_error:
                    answer.read()
                    raise _failed(*_sentences(answer))
                with part.open("wb") as file:
                    for piece in answer.iter_bytes():
                        file.write(piece)
            part.replace(to)
        except OSError as error:
            raise _failed(f"{to} cannot be written: {error.strerror}.") from None
        finally:
            part.unlink(missing_ok=True)
        return to.stat().st_size

    def _ask(self, method: str, path: str, **how: Any) -> "httpx.Response":
        with self._sentences():
            answer = self._http.request(method, path, **how)
        if answer.is_error:
            raise _failed(*_sentences(answer))
        return answer

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        """Say what went wrong with the server itself."""
        import httpx

        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise _failed(f"{self._server} is not the address of a server.") from None
        except httpx.TimeoutException:
            raise _failed(f"The server at {self._server} does not answer.") from None
        except httpx.HTTPError:
            raise _failed(
                f"No server can be reached at {self._server}. Start one with `voice-ai serve` (or, "
                "without any account, `voice-ai dev`), or name its address with --server."
            ) from None


def _failed(*sentences: str) -> typer.Exit:
    for sentence in sentences:
        echo(sentence, err=True)
    return typer.Exit(1)


def _sentences(answer: "httpx.Response") -> list[str]:
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return [f"The server answered with HTTP {answer.status_code}."]
    if isinstance(detail, list):
        return [
            f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}"
            for problem in detail
        ]
    return [str(detail)]
