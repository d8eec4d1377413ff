"""The objects through HTTP: every kind made, read, replaced, changed and deleted; nothing half done; secrets never shown."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.v1.table import ROUTES
from tests.strategies import control_texts, hostile_texts

HANGUP = {"hangup": 16}
SAMPLES = {
    "dids": ("number", {"number": "+4930700", "destination": HANGUP}, {"priority": 3}),
    "endpoints": ("extension", {"extension": "7001", "secret": "hidden-secret-1"}, {"name": "Lab"}),
    "trunks": ("name", {"name": "t-one", "hosts": ["sip.carrier.example"]}, {"description": "x"}),
    "outbound_routes": ("name", {"name": "o-one", "patterns": ["+49*"], "trunks": ["carrier"], "pin": "4711"}, {"position": 7}),
    "menus": (
        "name",
        {"name": "m-one", "prompts": ["hello"], "options": {"1": HANGUP}, "invalid": HANGUP, "timeout": HANGUP, "fallback": HANGUP},
        {"timeout_s": 7.5},
    ),
    "queues": ("name", {"name": "q-one", "fallback": HANGUP}, {"max_wait_s": 99}),
    "voicemail": ("mailbox", {"mailbox": "7001", "pin": "4711"}, {"name": "Box"}),
    "schedules": (
        "name",
        {"name": "s-one", "hours": [{"days": ["mon"], "start": "09:00", "end": "17:00"}]},
        {"holidays": ["12-24"]},
    ),
    "conferences": ("name", {"name": "c-one", "pin": "4711"}, {"max_members": 5}),
    "music-classes": ("name", {"name": "m-one", "sounds": ["tandem/waltz"]}, {"order": "random"}),
    "penalty-rules": ("name", {"name": "w-one", "changes": [{"after_s": 30, "max_penalty": 5}]}, {"description": "wider"}),
    "page-groups": ("name", {"name": "p-one", "extension": "7650", "members": ["1001"]}, {"duplex": True}),
    "ring-groups": ("name", {"name": "g-one", "members": [{"external": "+493055501"}], "fallback": HANGUP}, {"ring_time_s": 9}),
    "announcements": ("name", {"name": "a-one", "prompts": ["hello"]}, {"description": "y"}),
}  # fmt: skip


@pytest.mark.parametrize("path", SAMPLES)
def test_a_whole_life(client, path):
    key, sample, change = SAMPLES[path]
    all_of_them, one = f"/api/v1/{path}", f"/api/v1/{path}/{sample[key]}"
    client.ask("GET", one, status=404)
    made = client.ask("POST", all_of_them, sample, 201)
    assert client.headers["location"] == one
    assert {"secret", "pin", "moderator_pin"}.isdisjoint(made)
    client.ask("POST", all_of_them, sample, 409)
    assert client.ask("GET", one) == made
    etag = client.headers["etag"]
    assert client.ask("GET", one, status=304, headers={"If-None-Match": etag}) == b""
    changed = client.ask("PATCH", one, change, headers={"If-Match": etag})
    assert changed == {**made, **change}
    client.ask("PATCH", one, change, 412, headers={"If-Match": etag})
    # What was read can be written back: that changes nothing, and no secret is lost by it.
    tag = client.headers.get("etag")
    client.ask("GET", one)
    tag = client.headers["etag"]
    assert client.ask("PUT", one, changed) == changed
    assert client.headers["etag"] == tag
    client.ask("PUT", one, {**changed, key: f"{sample[key]}1"}, 422)
    client.ask("PATCH", one, {"no_such_field": 1}, 422)
    client.ask("PUT", one, {}, 422)
    listed = client.ask("GET", f"{all_of_them}?q={sample[key].lstrip('+')}&limit=1000")
    assert changed in listed["items"]
    assert listed["total"] == len(listed["items"])
    client.ask("DELETE", one, status=412, headers={"If-Match": '"other"'})
    client.ask("DELETE", one, status=204)
    client.ask("DELETE", one, status=404)
    client.ask("PATCH", one, change, 404)


def test_lists_are_filtered_sorted_and_paged(client):
    for number in range(5):
        body = {"extension": f"88{number:02}", "secret": "hidden-secret", "name": "pager", "ring_time_s": 30 - number}
        client.ask("POST", "/api/v1/endpoints", body, 201)
    found = [row["extension"] for row in client.ask("GET", "/api/v1/endpoints?name=pager&sort=ring_time_s")["items"]]
    assert found == ["8804", "8803", "8802", "8801", "8800"]
    page = client.ask("GET", "/api/v1/endpoints?name=pager&sort=-extension&limit=2&offset=2")
    assert [row["extension"] for row in page["items"]] == ["8802", "8801"]
    assert (page["total"], page["offset"], page["limit"]) == (5, 2, 2)
    assert client.ask("GET", "/api/v1/endpoints?ring_time_s=30&name=pager")["total"] == 1
    for wrong in (
        "limit=0",
        "limit=1001",
        "offset=-1",
        "sort=secret",
        "secret=x",
        "limit=x",
        "limit=1&limit=2",
        "q=%00",
    ):
        client.ask("GET", f"/api/v1/endpoints?{wrong}", status=(422, 400))
    for number in range(5):
        client.ask("DELETE", f"/api/v1/endpoints/88{number:02}", status=204)


def test_a_delete_names_what_still_leads_there(client):
    error = client.ask("DELETE", "/api/v1/queues/sales", status=409)["error"]
    assert "dids/+493023125001" in error["message"]
    assert {"object": "menus/main", "field": "options.2.queue", "rule": "leads to queues/sales"} in error["problems"]
    client.ask("GET", "/api/v1/queues/sales")


REFERRED = [
    ("endpoints", {"queues": {"name": "r-q", "members": [{"endpoint": "7001"}], "fallback": HANGUP}}, "members[0].endpoint"),
    ("trunks", {"general": {"outbound_trunk": "t-one"}}, "outbound_trunk"),
    ("menus", {"dids": {"number": "+4930799", "destination": {"menu": "m-one"}}}, "destination.menu"),
    ("queues", {"dids": {"number": "+4930799", "destination": {"queue": "q-one"}}}, "destination.queue"),
    ("voicemail", {"dids": {"number": "+4930799", "destination": {"voicemail": "7001"}}}, "destination.voicemail"),
    ("schedules", {"queues": {"name": "r-q", "schedule": "s-one", "closed": HANGUP, "fallback": HANGUP}}, "schedule"),
    ("conferences", {"dids": {"number": "+4930799", "destination": {"conference": "c-one"}}}, "destination.conference"),
    ("music-classes", {"queues": {"name": "w-queue", "music": "m-one", "fallback": HANGUP}}, "music"),
    ("penalty-rules", {"queues": {"name": "w-queue", "penalty_rule": "w-one", "fallback": HANGUP}}, "penalty_rule"),
    ("ring-groups", {"dids": {"number": "+4930799", "destination": {"ring_group": "g-one"}}}, "destination.ring_group"),
    ("announcements", {"dids": {"number": "+4930799", "destination": {"announcement": "a-one"}}}, "destination.announcement"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "referrer", "field"), REFERRED, ids=[path for path, *_ in REFERRED])
def test_of_each_kind_a_delete_is_refused_while_something_leads_there(client, path, referrer, field):
    key, sample, _ = SAMPLES[path]
    ((other, body),) = referrer.items()
    client.ask("POST", f"/api/v1/{path}", sample, 201)
    if other == "general":
        before = client.ask("GET", "/api/v1/general")["outbound_trunk"]
        client.ask("PATCH", "/api/v1/general", body)
        place, undo = "general", ("PATCH", "/api/v1/general", {"outbound_trunk": before}, 200)
    else:
        made = client.ask("POST", f"/api/v1/{other}", body, 201)
        place = f"{other}/{made['number' if other == 'dids' else 'name']}"
        undo = ("DELETE", f"/api/v1/{place}", None, 204)
    error = client.ask("DELETE", f"/api/v1/{path}/{sample[key]}", status=409)["error"]
    named = [(problem["object"], problem["field"]) for problem in error["problems"]]
    assert named == [(place, field)]
    assert place in error["message"]
    client.ask(*undo)
    client.ask("DELETE", f"/api/v1/{path}/{sample[key]}", status=204)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("dids", {"number": "+1", "destination": {"queue": "nosuch"}}, "destination.queue"),
        ("dids", {"number": "493023125000", "destination": HANGUP}, "number"),
        ("dids", {"number": "_[", "destination": HANGUP}, "number"),
        ("dids", {"number": "+1", "destination": {"did": "+1"}}, ""),
        ("endpoints", {"extension": "112", "secret": "hidden-secret"}, "extension"),
        ("queues", {"name": "SALES", "fallback": HANGUP}, "name"),
        ("trunks", {"name": "anonymous", "hosts": ["x"]}, "name"),
        ("trunks", {"name": "r", "hosts": ["x"], "authentication": "registration"}, "username"),
        ("schedules", {"name": "z", "time_zone": "Nowhere/Land"}, "time_zone"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_others_is_refused_with_object_and_field(client, path, body, field):
    before = client.ask("GET", "/api/v1/monitoring/status")["head"]
    problems = client.ask("POST", f"/api/v1/{path}", body, 422)["error"]["problems"]
    assert any(problem["field"].startswith(field) for problem in problems), problems
    assert client.ask("GET", "/api/v1/monitoring/status")["head"] == before


def test_json_has_types(client):
    for wrong in (
        {"active": "yes"},
        {"priority": "5"},
        {"priority": 1.5},
        {"description": 5},
        {"blocked_callers": "x"},
    ):
        client.ask("POST", "/api/v1/dids", {"number": "+1", "destination": HANGUP, **wrong}, 422)


def test_secrets_are_in_no_answer(client, server):
    secret = "never-shown-secret"
    body = {"extension": "7999", "secret": secret}
    answers = [
        client.ask("POST", "/api/v1/endpoints", body, 201, headers={"Idempotency-Key": "secret-1"}),
        client.ask("POST", "/api/v1/endpoints", body, 201, headers={"Idempotency-Key": "secret-1"}),
        client.ask("GET", "/api/v1/endpoints?limit=1000"),
        client.ask("GET", "/api/v1/config/plan"),
        client.ask("GET", "/api/v1/audit"),
        client.ask("PATCH", "/api/v1/endpoints/7999", {"secret": secret + "\n"}, 422),
        client.ask("GET", f"/api/v1/config/history/{client.ask('GET', '/api/v1/monitoring/status')['head']}"),
    ]
    assert secret not in str(answers)
    client.ask("DELETE", "/api/v1/endpoints/7999", status=204)
    assert secret not in (server.folder / "log").read_text()


def test_general_is_one_object(client):
    before = client.ask("GET", "/api/v1/general")
    tag = client.headers["etag"]
    assert client.ask("PATCH", "/api/v1/general", {"language": "fr"}) == {**before, "language": "fr"}
    client.ask("PATCH", "/api/v1/general", {"language": "de"}, 412, headers={"If-Match": tag})
    client.ask("PATCH", "/api/v1/general", {"outbound_trunk": "nosuch"}, 422)
    client.ask("PATCH", "/api/v1/general", {"language": before["language"]})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(hostile_texts, control_texts))
def test_hostile_texts_come_back_as_they_went_or_are_refused(client, text):
    body = {"number": "+4930701", "destination": HANGUP, "description": text}
    client.ask("POST", "/api/v1/dids", body, (201, 422))
    if client.status == 201:
        assert text.isprintable()
        assert client.ask("GET", "/api/v1/dids/+4930701")["description"] == text
        client.ask("DELETE", "/api/v1/dids/+4930701", status=204)
    else:
        assert not text.isprintable() or text != text.strip() or len(text.encode()) > 79


POSTS = {route.operation: route for route in ROUTES if route.method == "POST" and route.permission is not None}
PASSWORD = "correct horse battery"
# What each creates, what differs, and where it is then.
CREATED = {
    **{
        next(name for name, route in POSTS.items() if route.path == f"/api/v1/{path}"): (path, sample, change, sample[key])
        for path, (key, sample, change) in SAMPLES.items()
    },
    "create_token": ("tokens", {"name": "i", "permissions": ["dids/read"]}, {"name": "j"}, None),
    "create_dnc_list": ("dnc", {"name": "d-once"}, {"name": "d-other"}, "d-once"),
    "create_user": ("users", {"name": "ida", "password": PASSWORD}, {"role": "admin"}, "ida"),
}  # fmt: skip


class TestIdempotency:
    def test_everything_that_is_created_is_tried_here_or_there(self):
        """Whoever adds a POST says where its key is tried."""
        elsewhere = {
            **dict.fromkeys(
                ("create_call", "apply_config", "roll_back_config", "import_config"), "asterisk/test_api.py"
            ),
            **dict.fromkeys(("adopt_hand_edits", "discard_hand_edits"), "asterisk/test_api.py"),
            "create_campaign": "api/test_campaigns.py",
            "create_number_list": "api/test_lists.py",
            "create_user_group": "api/test_user_groups.py",
            "create_sound": "api/test_files.py",
            "unlock_toll_guard": "asterisk/test_outbound.py",
            "create_webhook": "api/test_webhooks.py",
            "create_survey": "api/test_surveys.py",
            "make_plan": "api/test_code.py",
        }
        made = {name for name, route in POSTS.items() if not route.path_names}
        assert made == CREATED.keys() | elsewhere.keys()

    @pytest.mark.parametrize("operation", CREATED)
    def test_every_creation_is_made_once(self, client, operation):
        path, body, change, name = CREATED[operation]
        headers, where = {"Idempotency-Key": f"every {operation}"}, f"/api/v1/{path}"
        first = client.ask("POST", where, body, 201, headers=headers)
        location = client.headers.get("location")
        again = client.ask("POST", where, body, 201, headers=headers)
        assert (client.headers.get("location"), client.headers["idempotency-replayed"]) == (location, "true")
        assert again == ({**first, "secret": None} if operation == "create_token" else first)
        client.ask("POST", where, {**body, **change}, 409, headers=headers)
        key = "id" if name is None else next(key for key, value in first.items() if value == name)
        listed = client.ask("GET", f"{where}?limit=1000")["items"]
        assert [one[key] for one in listed].count(first[key]) == 1
        client.ask("DELETE", f"{where}/{name if name is not None else first['id']}", status=204)

    def ask(self, client, key, number="+4930710", status=201):
        body = {"number": number, "destination": HANGUP}
        return client.ask("POST", "/api/v1/dids", body, status, headers={"Idempotency-Key": key})

    def test_a_repeat_is_answered_as_the_first_time_and_does_nothing(self, client):
        first = self.ask(client, "once")
        location, head = client.headers["location"], client.ask("GET", "/api/v1/monitoring/status")["head"]
        assert self.ask(client, "once") == first
        assert (client.headers["location"], client.headers["idempotency-replayed"]) == (location, "true")
        assert client.ask("GET", "/api/v1/monitoring/status")["head"] == head
        self.ask(client, "once", "+4930711", 409)
        # Of another token, or another route, it is another key.
        self.ask(client.with_token("dids/*"), "once", "+4930712")
        trunk = {"name": "once", "hosts": ["x"]}
        client.ask("POST", "/api/v1/trunks", trunk, 201, headers={"Idempotency-Key": "once"})
        for path in ("dids/+4930710", "dids/+4930712", "trunks/once"):
            client.ask("DELETE", f"/api/v1/{path}", status=204)
        assert self.ask(client, "once") == first
        client.ask("GET", "/api/v1/dids/+4930710", status=404)

    def test_what_failed_may_be_tried_again(self, client):
        body = {"number": "+4930713", "destination": {"queue": "later"}}
        client.ask("POST", "/api/v1/dids", body, 422, headers={"Idempotency-Key": "again"})
        client.ask("POST", "/api/v1/queues", {"name": "later", "fallback": HANGUP}, 201)
        client.ask("POST", "/api/v1/dids", body, 201, headers={"Idempotency-Key": "again"})
        client.ask("DELETE", "/api/v1/dids/+4930713", status=204)
        client.ask("DELETE", "/api/v1/queues/later", status=204)

    def test_a_kept_answer_holds_no_token(self, client, server):
        body = {"name": "once", "permissions": ["dids/read"]}
        headers = {"Idempotency-Key": "token"}
        secret = client.ask("POST", "/api/v1/tokens", body, 201, headers=headers)["secret"]
        assert client.ask("POST", "/api/v1/tokens", body, 201, headers=headers)["secret"] is None
        kept = server.read_database()
        assert b"/api/v1/tokens" in kept
        assert secret.rpartition("_")[2].encode() not in kept

    @pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
    def test_keys_have_a_form(self, client, key):
        body = {"number": "+4930714", "destination": HANGUP}
        client.ask("POST", "/api/v1/dids", body, 400, headers={"Idempotency-Key": key.encode()})

    def test_of_many_at_once_one_is_done(self, client):
        from concurrent.futures import ThreadPoolExecutor

        def create(_):
            other = client.with_secret(client.token)
            self.ask(other, "race", "+4930715", None)
            return other.status

        before = client.ask("GET", "/api/v1/monitoring/status")["head"]
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(create, range(24)))
        assert set(statuses) <= {201, 409}
        assert 201 in statuses
        assert client.ask("GET", "/api/v1/monitoring/status")["head"] == before + 1
        client.ask("DELETE", "/api/v1/dids/+4930715", status=204)
