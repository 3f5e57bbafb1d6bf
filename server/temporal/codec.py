"""EncryptedPayloads: encrypts what goes into a workflow's history, with AES-256-GCM.

Source: https://docs.temporal.io/production-deployment/data-encryption
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from server.settings.written_values import read_key

ENCODING = b"binary/encrypted"
NONCE_BYTES = 12


class EncryptedPayloads(PayloadCodec):
    """Encrypts all payloads with one key. `key`: 32 bytes in base64, standard or for URLs.

    Payloads that were written before there was a key are read as they are.

    Raises: ValueError for what is no such key.
    """

    def __init__(self, key: str) -> None:
        self._cipher = AESGCM(read_key(key))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt."""
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt. Raises: ValueError when a payload was encrypted with another key."""
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, payload.SerializeToString(), None)
        return Payload(metadata={"encoding": ENCODING}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        nonce, sealed = payload.data[:NONCE_BYTES], payload.data[NONCE_BYTES:]
        try:
            return Payload.FromString(self._cipher.decrypt(nonce, sealed, None))
        except InvalidTag:
            raise ValueError("TEMPORAL_CODEC_KEY is not the key of this history") from None
