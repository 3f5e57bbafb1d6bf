"""G.711 mu-law at 8 kHz: the sound of the telephone, by table.

Source: ITU-T G.711, https://www.itu.int/rec/T-REC-G.711
"""

import numpy as np
from numpy.typing import NDArray

RATE = 8_000  # Hz, one byte a sample
PACKET_MS = 20
PACKET = RATE * PACKET_MS // 1_000  # samples, and bytes of mu-law
SILENCE = 0xFF

_BIAS = 0x84
_CLIP = 32_635


def _decode_table() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent = (code >> 4) & 0x07
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << exponent) - _BIAS
    samples: NDArray[np.int16] = np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)
    return samples


def _encode_table() -> NDArray[np.uint8]:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(sample), _CLIP) + _BIAS
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    sign = np.where(sample < 0, 0x80, 0)
    codes: NDArray[np.uint8] = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return codes


_DECODED = _decode_table()
_ENCODED = _encode_table()


def encode(samples: NDArray[np.int16]) -> bytes:
    """PCM16 samples as mu-law, one byte each."""
    return _ENCODED[samples.view(np.uint16)].tobytes()


def decode(mulaw: bytes | bytearray) -> NDArray[np.int16]:
    """Mu-law bytes as PCM16 samples."""
    samples: NDArray[np.int16] = _DECODED[np.frombuffer(mulaw, dtype=np.uint8)]
    return samples
