"""Compresses and restores audio without loss: mu-law as it is, PCM16 as differences in two planes.

Of PCM16, second differences are taken, folded so that small ones are small without a sign, and
their low and high bytes are stored apart. High bytes are nearly always small: several share a byte.
Bytes that would hardly become shorter, such as the low ones of loud speech, are stored as they are:
compressing them costs as much as everything else. Made for speed: a second of speech takes less
than half a millisecond.

    PCM16 ─▶ folded ─┬─ high bytes ─▶ 1, 2 or 4 in a byte ─▶ deflate      too high ones: a list
                     └─ low bytes ──▶ deflate, or as they are
"""

import struct
import zlib

import numpy as np

_NO_HEADER = -15
_AS_IT_IS, _COMPRESSED = b"\0", b"\1"
# A plane is compressed when its bytes have less information than this, in bits.
_WORTH_BITS = 7.0
# A shorter plane is always compressed; of a longer one, about so many bytes are looked at.
_LOOKED_AT_BYTES = 2048
# Count of samples, bits of each high byte, count of high bytes that have more bits, length of the
# compressed high bytes.
_HEAD = struct.Struct(">IBII")
# So few high bytes may have more bits than the others: one of so many.
_EXCEPTION_IN = 64

_Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


def pack_pcm(pcm: bytes) -> bytes:
    """Compress PCM16; a last half sample is kept as it is."""
    count = len(pcm) // 2
    samples = np.frombuffer(pcm, dtype="<i2", count=count)
    twice = _difference(_difference(samples))
    folded = ((twice << 1) ^ (twice >> 15)).astype("<i2", copy=False).view(np.uint8)
    high = np.ascontiguousarray(folded[1::2])
    bits = next((bits for bits in (2, 4) if _fits(high, bits)), 8)
    too_high = np.flatnonzero(high >> bits) if bits < 8 else np.empty(0, np.intp)
    exceptions = too_high.astype("<u4").tobytes() + high[too_high].tobytes()
    packed = pack_bytes(_together(high, bits))
    head = _HEAD.pack(count, bits, len(too_high), len(packed))
    return head + exceptions + packed + _pack_plane(folded[0::2].tobytes() + pcm[2 * count :])


def unpack_pcm(packed: bytes) -> bytes:
    """Restore what `pack_pcm` compressed. Raises: zlib.error, struct.error, ValueError."""
    count, bits, exceptions, length = _HEAD.unpack_from(packed)
    start = _HEAD.size
    too_high = np.frombuffer(packed, "<u4", exceptions, start)
    values = np.frombuffer(packed, np.uint8, exceptions, start + 4 * exceptions)
    start += 5 * exceptions
    high = _apart(unpack_bytes(packed[start : start + length]), bits)[:count]
    high[too_high] = values
    low = _unpack_plane(packed[start + length :])
    folded = np.empty(2 * count, dtype=np.uint8)
    folded[0::2] = np.frombuffer(low, dtype=np.uint8, count=count)
    folded[1::2] = high
    wide = folded.view("<u2")
    twice = ((wide >> 1) ^ (0 - (wide & 1)).astype(np.uint16)).astype("<i2")
    samples = np.cumsum(np.cumsum(twice, dtype=np.int16), dtype=np.int16)
    return samples.astype("<i2").tobytes() + low[count:]


def pack_mulaw(mulaw: bytes) -> bytes:
    """Compress mu-law: silence takes nearly nothing, loud speech as much as it is."""
    return _pack_plane(mulaw)


def unpack_mulaw(packed: bytes) -> bytes:
    """Restore what `pack_mulaw` compressed. Raises: zlib.error."""
    return _unpack_plane(packed)


def pack_bytes(plain: bytes) -> bytes:
    """Compress bytes that hardly repeat, but for runs of one value."""
    compress = zlib.compressobj(1, zlib.DEFLATED, _NO_HEADER, 9, zlib.Z_RLE)
    return compress.compress(plain) + compress.flush()


def pack_text(plain: bytes) -> bytes:
    """Compress text that repeats itself."""
    compress = zlib.compressobj(1, zlib.DEFLATED, _NO_HEADER)
    return compress.compress(plain) + compress.flush()


def unpack_bytes(packed: bytes) -> bytes:
    """Restore what `pack_bytes` or `pack_text` compressed. Raises: zlib.error."""
    return zlib.decompress(packed, _NO_HEADER)


def _fits(high: _Bytes, bits: int) -> bool:
    """Whether nearly all of these have so few bits."""
    return int(np.count_nonzero(high >> bits)) <= len(high) // _EXCEPTION_IN


def _together(high: _Bytes, bits: int) -> bytes:
    """Put as many values of so many bits into a byte as it holds."""
    if bits == 8:
        return high.tobytes()
    each = 8 // bits
    rows = np.append(high, np.zeros(-len(high) % each, np.uint8)).reshape(-1, each)
    rows &= (1 << bits) - 1
    together = rows[:, 0].copy()
    for column in range(1, each):
        together |= rows[:, column] << (bits * column)
    return together.tobytes()


def _apart(together: bytes, bits: int) -> _Bytes:
    packed = np.frombuffer(together, np.uint8)
    each = 8 // bits
    columns = [packed >> (bits * column) & ((1 << bits) - 1) for column in range(each)]
    return np.stack(columns, axis=1).ravel()


def _pack_plane(plain: bytes) -> bytes:
    if len(plain) > _LOOKED_AT_BYTES and _information(plain) > _WORTH_BITS:
        return _AS_IT_IS + plain
    return _COMPRESSED + pack_bytes(plain)


def _unpack_plane(packed: bytes) -> bytes:
    plain = packed[1:]
    return plain if packed[:1] == _AS_IT_IS else unpack_bytes(plain)


def _information(plain: bytes) -> float:
    """Bits that a byte has, each seen alone, from a sample of them."""
    sample = np.frombuffer(plain, np.uint8)[:: len(plain) // _LOOKED_AT_BYTES]
    counts = np.bincount(sample)
    seen = counts[counts > 0]
    return float(np.log2(len(sample)) - np.dot(seen, np.log2(seen)) / len(sample))


def _difference(
    samples: "np.ndarray[tuple[int], np.dtype[np.int16]]",
) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    different = samples.copy()
    different[1:] -= samples[:-1]
    return different
