"""How much louder or quieter speech must be to be as loud as Asterisk's own prompts; pure, never touches a file.

A caller hears uploads, speech of an engine and Asterisk's own prompts one after the other, and turns the volume for none of them.
"""

import math
from collections.abc import Iterable
from operator import mul
from typing import Final

# Asterisk's English prompts, measured the same way, lie between -20 and -18 dB, their peaks below -1 dB. 0 dB is full scale.
TARGET_DB: Final = -19.0
PEAK_DB: Final = -1.0
# More would make a quiet room's noise a loud one.
MOST_DB: Final = 20.0
# Who could hear less than this?
LEAST_DB: Final = 0.5
BLOCK_S: Final = 0.1
# Pauses do not count: neither what is nearly silent, nor what is so much quieter than the rest (the two gates of EBU R 128).
_SILENT_DB: Final = -55.0
_QUIETER_DB: Final = -10.0
_FULL: Final = 32768.0


def choose_gain(blocks: Iterable[memoryview]) -> float:
    """How many dB to add to 16-bit samples that come in blocks of BLOCK_S; 0 for silence, and where nobody would hear a difference."""
    heard, peak = [], 0
    for block in blocks:
        if len(block):
            highest, lowest = max(block), min(block)
            peak = max(peak, highest, -lowest)
            if not _is_silent(power := _measure(block)):
                heard.append(power)
    if not heard:
        return 0.0
    loud = [power for power in heard if power > _mean(heard) * _power(_QUIETER_DB)]
    to_peak = PEAK_DB - 20 * math.log10(peak / _FULL)
    gain = min(TARGET_DB - 10 * math.log10(_mean(loud)), to_peak, MOST_DB)
    return gain if abs(gain) >= LEAST_DB else 0.0


def is_silent(blocks: Iterable[memoryview]) -> bool:
    """Whether nobody would hear anything of such samples."""
    return all(_is_silent(_measure(block)) for block in blocks if len(block))


def _measure(block: memoryview) -> float:
    return float(sum(map(mul, block, block)) / len(block) / _FULL**2)


def _is_silent(power: float) -> bool:
    return power <= _power(_SILENT_DB)


def _power(decibels: float) -> float:
    return float(10 ** (decibels / 10))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
