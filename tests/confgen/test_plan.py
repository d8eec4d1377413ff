"""What changed, by the bodies of files alone."""

from confgen.plan import modules_of, plan_files
from confgen.render import MODULE_OF_FILE


def text(revision, body):
    return f"; x: written by Tandem from its database; revision {revision} is\n; more\n\n{body}\n\nlast\n"


def test_nothing_to_do():
    plan = plan_files({"pjsip.conf": text(2, "a")}, {"pjsip.conf": text(1, "a")})
    assert (plan.changed, plan.modules) == ((), ())
    assert plan.files == {"pjsip.conf": text(1, "a")}  # header and all


def test_changed_added_removed():
    rendered = {"pjsip.conf": text(2, "a"), "queues.conf": text(2, "b"), "cdr.conf": text(2, "c")}
    present = {"pjsip.conf": text(1, "a"), "queues.conf": text(1, "x"), "voicemail.conf": text(1, "v")}
    plan = plan_files(rendered, present)
    assert plan.changed == ("cdr.conf", "queues.conf", "voicemail.conf")
    assert plan.files == {**rendered, "pjsip.conf": present["pjsip.conf"]}
    assert plan.modules == ("app_voicemail.so", "app_queue.so", "cdr")


def test_modules_once_and_in_order():
    assert modules_of(["extensions.conf", "pjsip.conf", "pjsip_transport.conf"]) == ("res_pjsip.so", "pbx_config.so")
    assert len(modules_of(tuple(MODULE_OF_FILE))) == len(set(MODULE_OF_FILE.values()))


def test_a_file_without_our_header_counts_whole():
    for old, new in [("; a\n\nx\n", "; b\n\nx\n"), ("[a]\n", "[b]\n"), ("", "x")]:
        plan = plan_files({"tandem-enter.conf": new}, {"tandem-enter.conf": old})
        assert (plan.changed, plan.modules) == (("tandem-enter.conf",), ("pbx_config.so",))
