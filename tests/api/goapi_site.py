"""A client of goAPI that looks at the envelope of every answer."""

import json
import re
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from tests.api.conftest import SOURCES, Client, Server

FORM = "application/x-www-form-urlencoded"


class GoApi:
    """user, secret: the credentials of every call; another address for each, as wrong logins are limited by it."""

    def __init__(self, port, user, secret, source="127.0.0.1"):
        self.port, self.user, self.secret, self.source = port, user, secret, source

    def with_credentials(self, user, secret, source=None):
        return GoApi(self.port, user, secret, source or self.source)

    def send(self, method, path, body=None, headers=None):
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=(self.source, 0))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            self.status, self.headers = response.status, {k.lower(): v for k, v in response.getheaders()}
            self.body = response.read()
        finally:
            connection.close()
        return self.body

    def fields(self, action, given):
        login = {"goUser": self.user, "goPass": self.secret, "goAction": action, "responsetype": "json"}
        return {name: value for name, value in (login | given).items() if value is not None}

    def call(self, module, action, /, *, http=200, prefix="goAPI", **given):
        """The parsed answer of a POST."""
        body = urlencode(self.fields(action, given), doseq=True).encode("utf-8", "surrogatepass")
        self.send("POST", f"/{prefix}/{module}/goAPI.php", body, {"Content-Type": FORM})
        if self.status == 503 and http == 200:
            # There is no Asterisk beside these tests, and some actions ask it.
            assert b"Asterisk cannot be asked now" in self.body, self.body[:500]
        else:
            assert self.status in (http if isinstance(http, tuple) else (http,)), (self.status, self.body[:500])
        return self.read()

    def get(self, module, action, /, prefix="goAPI", **given):
        self.send("GET", f"/{prefix}/{module}/goAPI.php?{urlencode(self.fields(action, given), doseq=True)}")
        return self.read()

    def read(self):
        assert self.headers["content-type"] == "application/json", self.body[:500]
        assert self.body.isascii()
        found = json.loads(self.body)
        assert found["result"] != ""
        return found

    def do(self, module, action, /, **given):
        found = self.call(module, action, **given)
        assert found["result"] == "success", found
        return found

    def deny(self, text, module, action, /, **given):
        found = self.call(module, action, **given)
        assert (found.get("message") or found["result"]) == text, found
        return found


def multipart(fields, boundary="-" * 24 + "0123456789abcdef"):
    """As curl writes a PHP array."""
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    return f"{parts}--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def make_admin(client, name="admin", password="the password of the admin"):
    """A user of Tandem's, by its own API; the client of goAPI that is them."""
    client.ask("POST", "/api/v1/users", {"name": name, "password": password, "role": "admin"}, 201)
    return GoApi(client.port, name, password)


def share_site(*secrets):
    """Three fixtures of a module: a server of its own, the native API there, goAPI as its admin. secrets: what its log must not hold."""

    @pytest.fixture(scope="module")
    def site(tmp_path_factory):
        server = Server(tmp_path_factory.mktemp("goapi"), document=Path(__file__).with_name("goapi.yaml"))
        server.start()
        yield server
        server.stop()
        log = (server.folder / "log").read_text()
        for text in ("Traceback", *secrets):
            assert text not in log

    @pytest.fixture(scope="module")
    def native(site):
        return Client(site.port, site.token, None, next(SOURCES))

    @pytest.fixture(scope="module")
    def go(site):
        return make_admin(Client(site.port, site.token, None, next(SOURCES)))

    return site, native, go


def read_vendors_document(number):
    """One of the vendor's documents, which are beside the checkout; without it these tests cannot run."""
    for parent in Path(__file__).parents:
        for found in sorted((parent / "shared" / "specs" / "seeds").glob(f"{number}_*.txt")):
            return found.read_text(encoding="utf-8")
    return pytest.fail(f"the vendor's document (../shared/specs/seeds/{number}_*.txt) is not there")


def compose_readme(origin, user, secret, campaign_id):
    """(the PHP program of the README, its curl line's address), with our host, credentials and a campaign of our own."""
    text = read_vendors_document("000")
    fields = re.search(r"\$postfields = array\((.*?)\);", text, re.DOTALL)[1]
    # Printed with typographic quotes and one comma too few, which no PHP ever read.
    fields = fields.translate({0x2018: "'", 0x2019: "'"}).replace("'ADMIN'\n", "'ADMIN',\n")
    fields = fields.replace("12231977", campaign_id)
    request = text[text.index("$ch = curl_init();") : text.index("curl_close($ch);") + len("curl_close($ch);")]
    values = {"goUser": user, "goPass": secret, "session_user": user, "url": f"{origin}/goAPIv2/goCampaigns/goAPI.php"}
    given = "".join(f"${name} = {json.dumps(value)};\n" for name, value in values.items())
    program = f"<?php\n{given}$postfields = array({fields});\n{request}\necho $data;"
    line = re.search(r"curl '(https://DOMAINNAME[^']+)'", text)[1]
    address = line.replace("https://DOMAINNAME", origin).replace("goAPIuser", user)
    return program, address.replace("ENCRYPTED_PASSWORD", quote(secret))


CAMPAIGN = {
    "campaign_id": "12345678", "campaign_name": "Winter", "campaign_type": "OUTBOUND", "closer_campaigns": "support", "active": "N",
}  # fmt: skip


def share_campaign():
    """Fixtures: `campaign`, the code of one that is gone afterwards; `leads`, its two leads, read from a file of four rows."""

    @pytest.fixture
    def campaign(go):
        go.do("goCampaigns", "goAddCampaign", **CAMPAIGN)
        yield CAMPAIGN["campaign_id"]
        go.call(
            "goCampaigns", "goDeleteCampaign", **{"campaign_id[]": CAMPAIGN["campaign_id"], "action": "delete_selected"}
        )

    @pytest.fixture
    def leads(go, campaign):
        go.do("goLists", "goAddList", list_id="1001", list_name="Fair", campaign_id=campaign, active="Y")
        text = "phone,first_name,last_name,city,custom one\r\n030 123-1,Ann,Lee,Bonn,x\r\n0301232,Ben,O'Hara,Ulm,\r\nnone,Bad,Row,,\r\n0301231,Ann,Again,,\r\n"
        answer = upload(go, {"goListId": "1001", "goDupcheck": "DUPLIST"}, text)
        assert answer == {"result": "success", "message": "Total Uploaded Leads: 2, 1 invalid, 1 duplicates"}
        return go.do("goGetLeads", "goGetLeads", list_filter="1001")

    return campaign, leads


def native(client, code):
    """The native campaign that goAPI calls so: the newest."""
    return client.ask("GET", "/api/v1/campaigns?limit=1")["items"][0]


def upload(go, given, text):
    """The answer to a file of leads."""
    body, headers = multipart([*go.fields("goUploadMe", given).items(), ("goFileMe", text)])
    body = body.replace(b'name="goFileMe"', b'name="goFileMe"; filename="leads.csv"')
    go.send("POST", "/goAPIv2/goUploadLeads/goAPI.php", body, headers)
    return go.read()
