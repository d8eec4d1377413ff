"""Over the whole table of goAPI's actions: everybody's role, hostile values in every parameter, and what the docs say is served."""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import pytest

from api.compat.goapi.document import write_actions
from api.compat.goapi.table import MODULES
from tests.api.goapi_hostile import HOSTILE, VALID
from tests.api.goapi_site import FORM, GoApi, share_site

ROOT = Path(__file__).parent
ACTIONS = [(module.name, action) for module in MODULES for action in module.actions]
NAMES = [f"{module}.{action.name}" for module, action in ACTIONS]


site, native, _ = share_site()


@pytest.fixture(scope="module")
def go(site):
    found = GoApi(site.port, "x", site.token)
    found.do("goInbound", "goGetDIDsList")  # gives the DIDs their numbers
    return found


def test_no_two_actions_have_one_name():
    for module in MODULES:
        names = [name for action in module.actions for name in (action.name, *action.aliases)]
        assert len(set(names)) == len(names), module.name


# Old names, as programs of 2015 to 2017 say them; the last two exist in no version and are asked for all the same.
ALIASES = {
    "goInbound": {
        "goGetDIDsList": "goGetAllDID", "getAllDIDs": "goGetAllDID", "goEditDIDAPI": "goEditDID", "goAddInbound": "goAddIngroup",
        "goEditInbound": "goEditIngroup", "goGetInboundInfo": "goGetIngroupInfo", "goGetAllInboundList": "goGetAllIngroup",
        "goCheckInbound": "goCheckIngroup", "goAddIVRmenu": "goAddIVR", "goGetIVRMenusList": "goGetAllIVR", "goGetAllDIDs": "goGetAllDID",
    },
    "goCampaigns": {
        "getAllCampaigns": "goGetAllCampaigns", "getCampaignInfo": "goGetCampaignInfo", "getDIDSettings": "goGetDIDSettings",
        "goUpdateCampaign": "goEditCampaign",
    },
    "goUsers": {"goGetAllUserLists": "goGetAllUsers", "goGetUsersList": "goGetAllUsers"},
    "goUserGroups": {"goGetUserGroupsList": "goGetAllUserGroups"},
    "goPhones": {"goGetPhonesList": "goGetAllPhones"},
    "goCarriers": {"goGetCarriersList": "goGetAllCarriers"},
    "goLists": {"getAllDNC": "goGetAllDNC", "getAllListsCampaign": "goGetAllListsCampaign"},
    "goVoicemails": {"getAllVoicemails": "goGetAllVoicemails", "getVoicemailInfo": "goGetVoicemailInfo"},
    "goCalltimes": {"getAllCalltimes": "goGetAllCalltimes", "getCalltimesInfo": "goGetCalltimesInfo"},
}  # fmt: skip


def test_old_names_are_the_same_actions():
    modules = {module.name: module for module in MODULES}
    for module, names in ALIASES.items():
        for old, new in names.items():
            assert modules[module].find(old) is modules[module].find(new) is not None, old


@pytest.mark.parametrize(("module", "action"), ACTIONS, ids=NAMES)
def test_every_action_asks_for_its_permission_and_for_no_other(go, native, site, module, action):
    others = sorted({one.permission for _, one in ACTIONS} - {action.permission})
    without = native.with_token(*others)
    found = go.call(module, action.name, goPass=without.token)
    assert found == {"code": "10001", "result": "Error: You do not have permission to view this page"}
    allowed = native.with_token(action.permission)
    for name in (action.name, *action.aliases):
        assert go.call(module, name, goPass=allowed.token).get("code") != "10001"


def is_answered(go):
    """Some actions ask Asterisk, and there is none here."""
    return go.status == 200 or (go.status == 503 and b"Asterisk cannot be asked now" in go.body)


def read_all(native):
    """Everything that an action could have changed, but for the audit log's own place."""
    paths = (
        "dids",
        "queues",
        "menus",
        "endpoints",
        "trunks",
        "voicemail",
        "schedules",
        "announcements",
        "sounds",
        "users",
        "campaigns",
    )
    found = {path: native.ask("GET", f"/api/v1/{path}?limit=1000")["items"] for path in paths}
    return json.dumps(found, sort_keys=True)


@pytest.mark.parametrize(("module", "action"), ACTIONS, ids=NAMES)
def test_hostile_values_are_refused_or_harmless_and_never_an_error_of_ours(go, native, module, action):
    before = read_all(native)
    for parameter in action.parameters:
        for value in HOSTILE:
            found = go.call(module, action.name, **VALID.get(action.name, {}) | {parameter: value})
            said = json.dumps(found)
            assert "something went wrong" not in said, (parameter, value[:40])
        for name in (f"{parameter}[]", f"{parameter}[a][b][c]"):
            fields = go.fields(action.name, VALID.get(action.name, {}) | {name: "'; x\n"})
            fields.pop(parameter, None)
            go.send("POST", f"/goAPI/{module}/goAPI.php", urlencode(fields), {"Content-Type": FORM})
            assert is_answered(go), (name, go.body[:300])
            go.read()
    go.send("POST", f"/goAPI/{module}/goAPI.php", json.dumps(go.fields(action.name, {name: {"a": [1, None]} for name in action.parameters})), {"Content-Type": "application/json"})  # fmt: skip
    assert is_answered(go), go.body[:300]
    go.read()
    after = read_all(native)
    if action.name.startswith(("goAdd", "goEdit")):
        # What was taken is harmless wherever it goes: none of the signs that a file, a shell or a terminal would read.
        for sign in (
            "\\r",
            "\\n",
            "\\u0000",
            "\\u001b",
            "\\u2028",
            "[general]",
            "`id`",
            "DROP TABLE",
            "SHELL",
            "System(",
        ):
            assert sign not in after, sign
    else:
        assert after == before


class TestDocs:
    def test_what_the_pages_say_is_not_served_is_not(self):
        pages = self.PAGE + (ROOT.parents[1] / "docs" / "goapi-campaigns.md").read_text(encoding="utf-8")
        said = (
            pages[pages.rindex("## Not served") :].split("\n## ")[1]
            if pages.count("## Not served") < 2
            else pages[pages.rindex("## Not served") :]
        )
        named = set(re.findall(r"\bgo[A-Z]\w+", said))
        served = {name for module in MODULES for action in module.actions for name in (action.name, *action.aliases)}
        told_elsewhere = {"goEditLeads"}
        assert named & served <= told_elsewhere
        assert len(named) > 40

    PAGE = (ROOT.parents[1] / "docs" / "goapi.md").read_text(encoding="utf-8")

    def test_the_page_has_every_action_as_it_is(self):
        assert self.PAGE.endswith(write_actions())

    def test_its_program_works_as_it_is_pasted(self, go, native):
        program = re.search(r"```python\n(.*?)```", self.PAGE, re.DOTALL)[1]
        program = program.replace("127.0.0.1:8080", f"127.0.0.1:{go.port}").replace(
            "the password, or a token", go.secret
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
        assert "15550199 IN_GROUP" in done.stdout.splitlines()
        native.ask("GET", "/api/v1/dids/15550199", status=404)
