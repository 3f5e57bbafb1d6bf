"""Picture of two tracks around a moment: their loudness, one above the other, as text.

2.1 s      3.1 s      4.1 s
recorded   ▁▅▇▆▂▁▁▃▆▇▅▂
replayed   ▁▅▇▆▂▁▁▁▁▁▁▁
                   ▲
"""

import audioop

import numpy as np

_SHADES = " ▁▂▃▄▅▆▇█"
_COLUMNS = 60
_COLUMN_BYTES = 320
_FLOOR_DB = -54.0


def picture(before: bytes, now: bytes, position: int) -> str:
    """Both tracks of mu-law at 8 kHz around the byte at `position`, as text of four lines."""
    first = max(0, position // _COLUMN_BYTES - _COLUMNS // 2)
    start = first * _COLUMN_BYTES
    end = start + _COLUMNS * _COLUMN_BYTES
    marked = min(_COLUMNS - 1, position // _COLUMN_BYTES - first)
    scale = f"{start / 8000:.2f} s of the agent's sound".ljust(_COLUMNS - 8)
    return "\n".join(
        [
            f"           {scale}{end / 8000:6.2f} s",
            f"recorded   {_loudness(before[start:end])}",
            f"replayed   {_loudness(now[start:end])}",
            f"           {' ' * marked}▲",
        ]
    )


def _loudness(mulaw: bytes) -> str:
    samples = np.frombuffer(audioop.ulaw2lin(bytes(mulaw), 2), dtype="<i2").astype(np.float64)
    shades = []
    for start in range(0, len(samples), _COLUMN_BYTES):
        column = samples[start : start + _COLUMN_BYTES] / 32768
        level = 20 * np.log10(max(1e-6, float(np.sqrt(np.mean(column**2)))))
        share = min(1.0, max(0.0, 1 - level / _FLOOR_DB))
        shades.append(_SHADES[round(share * (len(_SHADES) - 1))])
    return "".join(shades).ljust(_COLUMNS, "·")
