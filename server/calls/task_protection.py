"""TaskProtection: keeps Amazon ECS from stopping this task while it carries calls.

    calls   0    1    2    1 ················ 1    0
    agent       PUT true          PUT true        PUT false
                (expires)         (renewed)

ECS then prefers idle tasks when it scales in or deploys. A deployment that waits for busy tasks is
refused further protection (DEPLOYMENT_BLOCKED). This task gives its own up then: ECS takes it out
of the load balancer, and its calls end there within the target group's deregistration delay.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import httpx
from loguru import logger

STATE_PATH = "/task-protection/v1/state"
BLOCKED = "DEPLOYMENT_BLOCKED"
# A task whose process hangs is protected no longer than this.
EXPIRES_MINUTES = 10
# Two renewals may fail before the protection expires.
RENEW_SECS = EXPIRES_MINUTES * 60 / 3
LOOK_SECS = 1.0
RETRY_SECS = 10.0
TIMEOUT_SECS = 5.0


class ProtectionRefused(Exception):
    """The agent answered, and did not do as it was asked; the message is its reason."""


class TaskProtection:
    """Asks the agent at `agent_uri` for protection while `calls` returns more than 0."""

    def __init__(
        self,
        agent_uri: str,
        calls: Callable[[], int],
        *,
        look_secs: float = LOOK_SECS,
        renew_secs: float = RENEW_SECS,
        retry_secs: float = RETRY_SECS,
    ) -> None:
        self._url = agent_uri + STATE_PATH
        self._calls = calls
        self._look_secs = look_secs
        self._renew_secs = renew_secs
        self._retry_secs = retry_secs
        # As far as this process knows: a request that failed may still have taken effect.
        self._protected = False
        self._renew_at = 0.0
        self._wait_until = 0.0
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start on the running loop."""
        self._task = asyncio.create_task(self._follow_calls(), name="task-protection")

    async def close(self) -> None:
        """Stop; a protection that is left expires."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow_calls(self) -> None:
        # The agent is on the link-local network: no proxy leads to it.
        async with httpx.AsyncClient(timeout=TIMEOUT_SECS, trust_env=False) as http:
            while True:
                await asyncio.sleep(self._look_secs)
                now, wanted = _now(), self._calls() > 0
                due = wanted != self._protected or (wanted and now >= self._renew_at)
                if due and now >= self._wait_until:
                    await self._set(http, wanted)

    async def _set(self, http: httpx.AsyncClient, wanted: bool) -> None:
        try:
            await self._put(http, wanted)
        except ProtectionRefused as refusal:
            if str(refusal) == BLOCKED:
                await self._give_up(http)
            else:
                logger.warning("ECS refused to protect this task", why=str(refusal))
                self._wait_until = _now() + self._retry_secs
        except httpx.HTTPError as error:
            logger.warning("The ECS agent cannot be asked", why=type(error).__name__)
            self._protected = self._protected or wanted
            self._renew_at = self._wait_until = _now() + self._retry_secs
        else:
            self._protected = wanted
            self._renew_at = _now() + self._renew_secs

    async def _give_up(self, http: httpx.AsyncClient) -> None:
        """Let the deployment stop this task; ask again when it must be over."""
        try:
            await self._put(http, False)
        except (ProtectionRefused, httpx.HTTPError) as error:
            logger.warning("ECS did not take back the protection", why=type(error).__name__)
            self._wait_until = _now() + self._retry_secs
            return
        logger.info("A deployment waits: this task is no longer protected")
        self._protected = False
        self._wait_until = _now() + EXPIRES_MINUTES * 60

    async def _put(self, http: httpx.AsyncClient, wanted: bool) -> None:
        """Raises: ProtectionRefused, httpx.HTTPError."""
        body: dict[str, Any] = {"ProtectionEnabled": wanted}
        if wanted:
            body["ExpiresInMinutes"] = EXPIRES_MINUTES
        response = await http.put(self._url, json=body)
        try:
            answer = response.json()
            protection = answer["protection"]
        except (ValueError, KeyError, TypeError):
            raise ProtectionRefused(_reason(response)) from None
        if protection.get("ProtectionEnabled") is not wanted:
            raise ProtectionRefused(f"ProtectionEnabled is not {wanted}")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _reason(response: httpx.Response) -> str:
    """The reason of a `failure`, the code of an `error`, or the status."""
    with contextlib.suppress(ValueError, AttributeError):
        answer = response.json()
        said = (answer.get("failure") or {}).get("Reason") or (answer.get("error") or {}).get(
            "Code"
        )
        if said:
            return str(said)[:200]
    return f"HTTP {response.status_code}"
