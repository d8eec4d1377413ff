"""Says in plain words what happened in a call; never looks anything up, everything comes from the running process."""

from typing import Any

from tandem.domain.printable import escape_unprintable

_RECORD_WORDS = {
    "ANSWERED": "answered",
    "NO ANSWER": "nobody answered",
    "BUSY": "busy",
    "FAILED": "failed",
    "CONGESTION": "congestion",
}


def tell_jump(outcome: str) -> str:
    """`tandem-enter,queue,1(sales,5,,,,)` -> `queue sales`; anything else as it is."""
    context, _, rest = outcome.partition(",")
    kind, _, arguments = rest.partition(",1(")
    if context != "tandem-enter" or not arguments:
        return outcome
    target, _, more = arguments.partition(",")
    return f"{kind} {target}{more.partition(')')[2]}"


def tell_call(call: dict[str, Any]) -> list[str]:
    """A few lines: who called, each decision with its reasons, each CDR."""
    lines = []
    first = call["decisions"][0] if call["decisions"] else None
    if first is not None:
        caller = first["caller"] or "an anonymous caller"
        lines.append(f"{first['decided_at'][:19].replace('T', ' ')} UTC  {caller} called {first['called']}")
    for decision in call["decisions"]:
        reasons = ", ".join(decision["reasons"]) or "no rule matched"
        lines.append(
            f"  {decision['script']:<6} {reasons} -> {tell_jump(decision['outcome'])}"
            f"  ({decision['computing_s'] * 1000:.1f} ms to decide)"
        )
    lines.extend(f"  CDR    {tell_record(record)}" for record in call["records"])
    return list(map(escape_unprintable, lines))


def tell_record(record: dict[str, Any]) -> str:
    """One CDR: `answered, 12 s in all, 7 s after the answer: PJSIP/carrier-… with PJSIP/1002-… (Queue)`."""
    words = _RECORD_WORDS.get(record["disposition"], record["disposition"].lower())
    both = record["channel"] + (f" with {record['other_channel']}" if record["other_channel"] else "")
    return f"{words}, {record['duration_s']} s in all, {record['talk_s']} s answered: {both} ({record['last_application']})"
