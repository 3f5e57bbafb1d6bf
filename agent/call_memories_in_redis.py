"""CallMemoriesInRedis: what instances know of live calls, encrypted, for whoever goes on with one.

Each value is 12 random bytes and an AES-GCM ciphertext (NIST SP 800-38D) that is bound to its call,
so that values cannot be exchanged. Redis and its backups hold no readable word of a caller.
"""

import hashlib
import hmac
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from loguru import logger
from redis.asyncio import Redis

from agent.call_memory import CallMemory
from agent.live_calls_in_redis import FENCE

_MEMORY = "{voice-ai}:memory:"
_NONCE_BYTES = 12

# An owner that was frozen, and has lost the call meanwhile, does not overwrite what is newer.
_KEEP = """
local count = #KEYS / 2
for i = 1, count do
  local newest = tonumber(redis.call('GET', KEYS[count + i]) or '0')
  if newest <= tonumber(ARGV[1 + i]) then
    redis.call('SET', KEYS[i], ARGV[1 + count + i], 'EX', ARGV[1])
  end
end
return 1
"""


class CallMemoriesInRedis:
    """For all instances that share a Redis and `secret`; kept for `ttl_secs`."""

    def __init__(self, client: Redis, secret: str, ttl_secs: int = 7200) -> None:
        self._client = client
        self._ttl_secs = ttl_secs
        key = hmac.digest(secret.encode(), b"voice-ai call memories", hashlib.sha256)
        self._cipher = AESGCM(key)
        self._keep = client.register_script(_KEEP)

    async def keep(self, memories: Mapping[str, tuple[int, CallMemory]]) -> None:
        """As `CallMemories.keep`, in one round trip."""
        if not memories:
            return
        keys = [_MEMORY + call_id for call_id in memories]
        fences = [fence for fence, _ in memories.values()]
        sealed = [self._seal(call_id, memory) for call_id, (_, memory) in memories.items()]
        await self._keep(
            keys=[*keys, *(FENCE + call_id for call_id in memories)],
            args=[self._ttl_secs, *fences, *sealed],
        )

    async def recall(self, call_id: str) -> CallMemory | None:
        """As `CallMemories.recall`."""
        sealed = await self._client.get(_MEMORY + call_id)
        if not isinstance(sealed, bytes):
            return None
        try:
            nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
            text = self._cipher.decrypt(nonce, rest, call_id.encode())
            return CallMemory.from_json(text.decode())
        except (InvalidTag, ValueError, TypeError) as error:
            logger.bind(error=type(error).__name__).error(
                "The memory of a call cannot be read; do all instances have the same secret?"
            )
            return None

    async def forget(self, call_id: str) -> None:
        """As `CallMemories.forget`."""
        await self._client.delete(_MEMORY + call_id)

    def _seal(self, call_id: str, memory: CallMemory) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        text = memory.bounded().to_json().encode()
        return nonce + self._cipher.encrypt(nonce, text, call_id.encode())
