"""The vendor's printed examples, run by PHP as they are printed but for host and credentials (and what its values stand for)."""

import json
import re
import shutil
import subprocess

from tests.api.goapi_site import read_vendors_document, share_site

site, _, go = share_site()


def run_php(folder, text):
    """What the program prints and, after a mark, the answer that it got."""
    php = shutil.which("php")
    assert php is not None, "php is missing: make installs it"
    path = folder / "example.php"
    path.write_text(text, encoding="utf-8")
    # The sample reads what a web server would have set, and a header list that it never made.
    argv = [
        php,
        "-d",
        "error_reporting=E_ALL & ~E_WARNING & ~E_NOTICE & ~E_DEPRECATED",
        "-d",
        "display_errors=stderr",
        str(path),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def read_samples():
    """The five programs of the article, in its order; the page puts a no-break space on empty lines."""
    return re.findall(r"<\?php.*?\?>", read_vendors_document("001").replace("\u00a0", " "), re.DOTALL)


def fill(go, sample, action, values):
    """Only what the article leaves to its reader is filled in: the host, and the text between the quotes that follow a name."""
    sample = re.sub(r"https://[^/\"]+/goAPI/", f"http://127.0.0.1:{go.port}/goAPI/", sample)
    for name, value in {"goUser": go.user, "goPass": go.secret, "goAction": action, **values}.items():
        sample, count = re.subn(rf'(\$postfields\["{name}"\] = )""', rf'\g<1>"{value}"', sample)
        assert count == 1, name
    # A PHP of its own time took a header list that was never made; today's must be given one.
    sample = sample.replace("$ch = curl_init();", "$header = array(); $ch = curl_init();")
    return sample.replace("?>", '\nfwrite(STDOUT, "\\n--" . $data);\n?>')


def test_the_five_programs_of_the_article(go, tmp_path):
    samples = read_samples()
    assert len(samples) == 5
    pattern = "15550142"
    add = {
        "did_pattern": pattern, "did_description": "From PHP", "did_route": "IN_GROUP", "group_id": "support", "record_call": "N",
        "did_active": "Y",
    }  # fmt: skip

    def run(place, action, **values):
        said, _, answer = run_php(tmp_path, fill(go, samples[place], action, values)).partition("\n--")
        return said, json.loads(answer)

    said, answer = run(0, "goAddDID", **add)
    assert said == "Added New DID ID: ", answer
    did_id = answer["did_id"]
    said, answer = run(3, "goGetDIDsList")
    assert f"{pattern}</br>From PHP</br>Y</br>IN_GROUP</br>" in said
    said, answer = run(4, "goGetDIDInfo", did_pattern=pattern)
    assert said == f"{pattern}</br>From PHP</br>Y</br>IN_GROUP</br>"
    said, answer = run(1, "goEditDIDAPI", did_id=did_id)
    assert (said, answer["did_id"]) == ("Update Success", did_id)
    said, answer = run(2, "goDeleteDID", did_id=did_id)
    assert (said, answer["did_id"]) == ("DID deleted successfully", did_id)
    said, answer = run(2, "goDeleteDID", did_id=did_id)
    assert said == "Error: DID doesn't exist."
    said, answer = run(0, "goAddDID", **add | {"did_route": "CALLMENU"})
    assert (said, answer["result"]) == ("", "Error: Set Value for menu_id")
