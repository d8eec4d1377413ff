from xml.etree import ElementTree as ET

import pytest

from tandem.asterisk.documentation import copy_thinned, thin_documentation

WHOLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE docs SYSTEM "appdocsxml.dtd">
<docs xmlns:xi="http://www.w3.org/2001/XInclude">
<module language="en_US" name="app_dial"><depend>x</depend></module>
<application name="Dial" language="en_US" module="app_dial">
 <synopsis>Attempt.</synopsis>
 <description><para>Long, see <ref type="application">Queue</ref>.</para></description>
</application>
<function name="CHANNEL" language="en_US"><synopsis>Gets.</synopsis></function>
<manager name="Ping" language="en_US"/>
<configInfo name="res_pjsip" language="en_US">
 <configFile name="pjsip.conf"><configObject name="endpoint">
  <configOption name="allow"><synopsis>Codecs</synopsis></configOption>
 </configObject></configFile>
</configInfo>
</docs>
"""


def test_what_is_said_of_configuration_stays_and_of_the_rest_the_names():
    whole, thin = ET.fromstring(WHOLE), ET.fromstring(thin_documentation(WHOLE))
    assert ET.tostring(thin.find("configInfo")).strip() == ET.tostring(whole.find("configInfo")).strip()
    left = [(one.tag, one.attrib) for one in whole if one.tag != "module"]
    assert [(one.tag, one.attrib) for one in thin] == left
    assert [len(thin.find(name)) for name in ("application", "function")] == [1, 1]  # an empty one is none for Asterisk
    assert b"Attempt" not in ET.tostring(thin)


@pytest.mark.parametrize("text", [b"", b"<docs></docs>", b"<other><configInfo/></other>"])
def test_what_is_not_as_we_know_it_is_left_alone(text, tmp_path):
    assert thin_documentation(text) is None
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "core-en_US.xml").write_bytes(WHOLE)
    (installed / "odd-en_US.xml").write_bytes(text)
    assert not copy_thinned(installed, tmp_path / "thin")
    assert not (tmp_path / "thin").exists()


def test_a_copy_has_every_file_and_the_installed_ones_stay(tmp_path):
    installed, thin = tmp_path / "installed", tmp_path / "thin"
    (installed / "thirdparty").mkdir(parents=True)
    (installed / "core-en_US.xml").write_bytes(WHOLE)
    (installed / "appdocsxml.dtd").write_bytes(b"<!ELEMENT docs ANY>")
    assert copy_thinned(installed, thin)
    assert {path.name for path in thin.iterdir()} == {"core-en_US.xml", "appdocsxml.dtd"}
    assert (thin / "core-en_US.xml").read_bytes() == thin_documentation(WHOLE)
    assert (installed / "core-en_US.xml").read_bytes() == WHOLE
