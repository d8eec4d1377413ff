# mypy: disallow-untyped-calls=False
# (types-peewee leaves some of what we call untyped)
"""What was asked for agents, kept over restarts; decides nothing. Every function is work for a Store."""

from collections.abc import Iterable

import peewee

from tandem.domain.agents import AgentChange, AgentLogin, AgentPause, AgentSessions
from tandem.store.rows import load_rows

_LOGIN = ("endpoint", "queue", "is_logged_in", "since", "author")
_PAUSE = ("endpoint", "is_paused", "reason", "since", "author")


def load_agent_sessions(db: peewee.Database) -> AgentSessions:
    """All of it."""
    logins = (
        AgentLogin(row["endpoint"], row["queue"], bool(row["is_logged_in"]), row["since"], row["author"])
        for row in load_rows(db, _LOGIN, "agent_logins")
    )
    pauses = (
        AgentPause(row["endpoint"], bool(row["is_paused"]), row["reason"], row["since"], row["author"])
        for row in load_rows(db, _PAUSE, "agent_pauses")
    )
    return AgentSessions(
        {(login.endpoint, login.queue): login for login in logins}, {pause.endpoint: pause for pause in pauses}
    )


def save_agent_change(db: peewee.Database, change: AgentChange) -> None:
    """What a wish came to."""
    for login in change.logins:
        db.execute_sql(
            "INSERT INTO agent_logins (endpoint, queue, is_logged_in, since, author) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (endpoint, queue) DO UPDATE SET is_logged_in = excluded.is_logged_in,"
            " since = excluded.since, author = excluded.author",
            (login.endpoint, login.queue, int(login.is_logged_in), login.since, login.by),
        )
    if (pause := change.pause) is not None:
        db.execute_sql(
            "INSERT INTO agent_pauses (endpoint, is_paused, reason, since, author) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (endpoint) DO UPDATE SET is_paused = excluded.is_paused, reason = excluded.reason,"
            " since = excluded.since, author = excluded.author",
            (pause.endpoint, int(pause.is_paused), pause.reason, pause.since, pause.by),
        )


def forget_agents(db: peewee.Database, logins: Iterable[tuple[str, str]], pauses: Iterable[str]) -> None:
    """Takes away what is about nobody any more."""
    for endpoint, queue in logins:
        db.execute_sql("DELETE FROM agent_logins WHERE endpoint = ? AND queue = ?", (endpoint, queue))
    for endpoint in pauses:
        db.execute_sql("DELETE FROM agent_pauses WHERE endpoint = ?", (endpoint,))
