"""Documents in several files: folders, includes, secrets kept elsewhere, and where a mistake is told."""

import pytest
from hypothesis import HealthCheck, given, settings

from tandem.document import DocumentError, read_document, write_document
from tandem.documents import MAX_SECRET_BYTES, read_pbx_files
from tandem.domain.secret_references import SecretReference
from tandem.store.database import open_store
from tandem.store.secret_references import load_references, save_references
from tests.strategies import pbxes

GENERAL = "general: {country: DE}\n"
PHONE = "endpoints: [{{extension: {0}, secret: {1}}}]\n"


def write(folder, **files):
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def read(*paths, environ=None):
    return read_pbx_files(paths, environ or {})


def refused(*paths, environ=None):
    with pytest.raises(DocumentError) as error:
        read(*paths, environ=environ)
    return str(error.value).splitlines()


def test_a_folder_is_one_pbx_whatever_is_in_which_file(tmp_path):
    write(tmp_path, b__phones="dids: [{number: 1, destination: {endpoint: 1001}}]\n" + PHONE.format(1002, "0123456789"),
          a=GENERAL + PHONE.format(1001, "0123456789"))  # fmt: skip
    (tmp_path / ".hidden.yaml").write_text("no: document")
    (tmp_path / "notes.txt").write_text("no: document")
    found = read(tmp_path)
    assert [it.extension for it in found.pbx.endpoints] == ["1001", "1002"]
    assert found.pbx.general.country == "DE"
    assert [path.relative_to(tmp_path).as_posix() for path in found.files] == ["a.yaml", "b/phones.yaml"]
    assert read(tmp_path / "b", tmp_path / "a.yaml").pbx.dids == found.pbx.dids


def test_includes_are_beside_the_document_and_read_once(tmp_path):
    write(tmp_path, main="include: [phones/*.yaml, more]\n" + GENERAL, phones__a=PHONE.format(1001, "0123456789"),
          phones__b="include: ../main.yaml\n" + PHONE.format(1002, "0123456789"),
          more__c=PHONE.format(1003, "0123456789"))  # fmt: skip
    assert [it.extension for it in read(tmp_path / "main.yaml").pbx.endpoints] == ["1001", "1002", "1003"]
    # The whole folder, in which main.yaml includes what is there anyway.
    assert len(read(tmp_path).pbx.endpoints) == 3


def test_mistakes_are_told_with_their_own_file_and_line(tmp_path):
    write(tmp_path, a=PHONE.format(1001, "0123456789") + "queues:\n- {name: sales, fallback: {hangup: busy}}\n",
          b="endpoints:\n- {extension: 1001, secret: 0123456789}\ngeneral: {language: en}\nqueues:\n- {name: Sales, fallback: {queue: sale}}\n",
          c="general:\n  language: de\n")  # fmt: skip
    told = refused(tmp_path)
    assert told == [f"{tmp_path}/c.yaml:2: general.language: is set already, at {tmp_path}/b.yaml:3"]
    (tmp_path / "c.yaml").unlink()
    assert refused(tmp_path) == [
        f"{tmp_path}/b.yaml:2: endpoints[0].extension: number 1001 is taken by endpoints[0].extension of {tmp_path}/a.yaml",
        f"{tmp_path}/b.yaml:5: queues[0].name: 'Sales' is taken by queues[0] of {tmp_path}/a.yaml",
        f"{tmp_path}/b.yaml:5: queues[0].fallback.queue: there is no queue 'sale'; did you mean sales?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("include: gone.yaml", "main.yaml:1: include: there is no gone.yaml beside this document"),
        ("include: [{a: 1}]", "include[0]: must be the name of a document"),
        ("[1]", "main.yaml:1: must be keys with values"),
        ("queues: 1", "main.yaml:1: queues: '1' must be a list"),
        ("included: 1", "main.yaml:1: included: is not a known key"),
        ("a: *x", "main.yaml:1: a: must not use anchors"),
        (PHONE.format(1001, "{env: NOBODY}"), "endpoints[0].secret: the environment has no NOBODY"),
        (PHONE.format(1001, "{file: gone}"), "endpoints[0].secret: gone cannot be read: No such file or directory"),
        (PHONE.format(1001, "{file: .}"), "endpoints[0].secret: . cannot be read: Is a directory"),
        (PHONE.format(1001, "{file: large}"), "large cannot be read: it is larger than 4096 bytes"),
        (PHONE.format(1001, "{file: binary}"), "binary cannot be read: it is not UTF-8"),
        (PHONE.format(1001, "{vault: x}"), "must be text, {env: NAME} or {file: name}"),
        (PHONE.format(1001, "{env: A, file: b}"), "must be text, {env: NAME} or {file: name}"),
        (PHONE.format("{env: A}", "0123456789"), "endpoints[0].extension: must be text"),
        (PHONE.format(1001, "{env: SHORT}"), "endpoints[0].secret: must have at least 8 characters"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, told):
    write(tmp_path, main=text)
    (tmp_path / "large").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff" * 9)
    (line,) = refused(tmp_path / "main.yaml", environ={"A": "0123456789", "SHORT": "geheim1"})
    assert told in line
    assert "geheim1" not in line


def test_a_folder_without_documents_and_a_file_that_is_not_there(tmp_path):
    assert refused(tmp_path) == [f"{tmp_path}: has no document in it (a file that ends in .yaml or .yml)"]
    assert refused(tmp_path / "gone.yaml") == [f"{tmp_path}/gone.yaml: cannot be read: No such file or directory"]


def test_a_secret_that_cannot_be_read(tmp_path):
    """A folder in its place: that stops root, too."""
    write(tmp_path, main=PHONE.format(1001, "{file: key}"))
    (tmp_path / "key").mkdir()
    assert "Is a directory" in refused(tmp_path / "main.yaml")[0]


def test_secrets_from_environment_and_files_are_references_in_what_is_written(tmp_path):
    write(tmp_path, a=PHONE.format(1000, "plain-secret"), z__main=(
        "endpoints:\n- {extension: 1001, secret: {env: PHONE_1001}}\n- {extension: 1002, secret: {file: keys/1002}}\n"
        "voicemail_boxes: [{mailbox: 1001, pin: {env: PIN}}]\n"))  # fmt: skip
    (tmp_path / "z" / "keys").mkdir()
    (tmp_path / "z" / "keys" / "1002").write_text("file-secret\n")
    found = read(tmp_path, environ={"PHONE_1001": "env-secret", "PIN": "0471"})
    assert [it.secret for it in found.pbx.endpoints] == ["plain-secret", "env-secret", "file-secret"]
    assert found.references == {
        ("endpoints", "1001", "secret"): SecretReference("env", "PHONE_1001"),
        ("endpoints", "1002", "secret"): SecretReference("file", str(tmp_path / "z" / "keys" / "1002")),
        ("voicemail_boxes", "1001", "pin"): SecretReference("env", "PIN"),
    }
    written = write_document(found.pbx, found.references)
    assert "secret: {env: PHONE_1001}" in written
    assert f"{tmp_path}/z/keys/1002" in written
    assert "env-secret" not in written
    # Wherever it is written to: beside another document, `keys/1002` would be another file.
    (tmp_path / "elsewhere" / "keys").mkdir(parents=True)
    (tmp_path / "elsewhere" / "keys" / "1002").write_text("secret of another\n")
    write(tmp_path / "elsewhere", again=written)
    again = read(tmp_path / "elsewhere" / "again.yaml", environ={"PHONE_1001": "env-secret", "PIN": "0471"})
    assert (again.pbx, again.references) == (found.pbx, found.references)


def test_an_older_revision_is_written_with_the_names_of_its_secrets(tmp_path):
    store = open_store(tmp_path / "tandem.db")

    def save(text):
        found = read(write(tmp_path, main=text) / "main.yaml", environ={"A": "first-secret", "B": "second-secret"})
        store.run_now(save_references, found.pbx, found.references)
        return found.pbx

    older, plain = save(PHONE.format(1001, "{env: A}")), save(PHONE.format(1001, "plain-secret"))
    assert store.run_now(load_references, plain) == {}
    assert write_document(older, store.run_now(load_references, older)).count("{env: A}") == 1
    # Who writes the same secret into the document itself wants it there.
    again = save(PHONE.format(1001, "first-secret"))
    assert store.run_now(load_references, again) == {}
    newer = save(PHONE.format(1001, "{env: B}"))
    assert "{env: B}" in write_document(newer, store.run_now(load_references, newer))


def test_a_document_that_came_over_the_network_names_no_file():
    for text, path in (
        (PHONE.format(1001, "{file: /etc/shadow}"), "endpoints[0].secret"),
        ("include: /etc/passwd", "include"),
    ):
        with pytest.raises(DocumentError, match="is for the command line") as error:
            read_document(text)
        assert error.value.problems[0].path == path


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large,
          HealthCheck.function_scoped_fixture])  # fmt: skip
@given(pbxes())
def test_an_export_read_from_a_file_is_the_same_pbx(tmp_path, pbx):
    (tmp_path / "pbx.yaml").write_text(write_document(pbx), encoding="utf-8")
    assert read(tmp_path / "pbx.yaml").pbx == pbx
