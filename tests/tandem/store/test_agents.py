"""What was asked for agents, on either database: kept, changed, and taken away again."""

from tandem.domain.agents import AgentChange, AgentLogin, AgentPause
from tandem.store.agents import forget_agents, load_agent_sessions, save_agent_change


def test_the_last_wish_is_kept_until_it_is_about_nobody(store):
    out = AgentLogin("1001", "sales", False, 5.5, "somebody")
    paused = AgentPause("1001", True, "it's lunch; 🍲", 6.25, "phone 1001")
    store.run_now(save_agent_change, AgentChange("1001", "logout", ("sales",), "", "x", (out,), paused))
    found = store.run_now(load_agent_sessions)
    assert (dict(found.logins), dict(found.pauses)) == ({("1001", "sales"): out}, {"1001": paused})
    back = AgentLogin("1001", "sales", True, 7.0, "another")
    other = AgentLogin("1002", "sales", True, 7.0, "another")
    works = AgentPause("1001", False, "", 8.0, "another")
    store.run_now(save_agent_change, AgentChange("1001", "login", ("sales",), "", "x", (back, other), works))
    found = store.run_now(load_agent_sessions)
    assert set(found.logins.values()) == {back, other}
    assert dict(found.pauses) == {"1001": works}
    store.run_now(forget_agents, [("1001", "sales")], ["1001", "1009"])
    found = store.run_now(load_agent_sessions)
    assert (set(found.logins.values()), found.pauses) == ({other}, {})
