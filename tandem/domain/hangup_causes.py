"""The Q.850 hang-up causes by name (ITU-T Q.850, table 1; Asterisk's include/asterisk/causes.h); never decides what one means for a call."""

from typing import Final

HANGUP_CAUSE_BY_NAME: Final[dict[str, int]] = {
    "unallocated": 1,
    "no-route": 3,
    "normal": 16,
    "busy": 17,
    "no-answer": 19,
    "rejected": 21,
    "number-changed": 22,
    "destination-out-of-order": 27,
    "invalid-number": 28,
    "normal-unspecified": 31,
    "congestion": 34,
    "failure": 38,
    "interworking": 127,
}
