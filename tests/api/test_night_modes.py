"""Night modes over HTTP: shown, set at once and told, refused where there is no such schedule; real calls are in tests/asterisk/phones."""


def test_a_schedule_is_held_and_let_go(client):
    schedule = client.ask("GET", "/api/v1/schedules")["items"][0]["name"]
    one = f"/api/v1/night-modes/{schedule}"
    assert client.ask("GET", one)["mode"] == "auto"
    for mode, is_open in (("night", False), ("day", True)):
        held = client.ask("PATCH", one, {"mode": mode})
        assert (held["mode"], held["is_open"]) == (mode, is_open)
        assert held["since"] is not None
        assert client.ask("GET", one) == held
    assert held in client.ask("GET", "/api/v1/night-modes?mode=day")["items"]
    entry = client.ask("GET", "/api/v1/audit?limit=1")["items"][0]
    assert (entry["action"], entry["target"]) == ("night_modes/update", f"night_modes/{schedule}/day")
    assert client.ask("PATCH", one, {"mode": "auto"})["by"]
    client.ask("PATCH", one, {"mode": "open"}, 422)
    client.ask("PATCH", one, {}, 422)
    client.ask("PATCH", f"{one}x", {"mode": "night"}, 404)
    client.with_token("night_modes/read").ask("PATCH", one, {"mode": "night"}, 403)
