"""The wheel holds all that an installed Tandem needs, and finds it there."""

import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(out), str(source))
    (made,) = out.glob("*.whl")
    return made


def test_every_package_and_no_test_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packages = {path.parent.relative_to(ROOT) for room in ("api", "confgen", "fastagi", "lab", "tandem")
                for path in (ROOT / room).rglob("__init__.py")}  # fmt: skip
    assert {f"{package}/__init__.py" for package in packages} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_an_installed_tandem_finds_what_it_ships(wheel, tmp_path):
    venv = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(venv))
    python = venv / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index", str(wheel))
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # Ours must come from the wheel, not from the editable install that the path above also brings.
    code = (
        "import tandem, confgen, sys; from tandem.target import read_dialplan; from tandem.resources import find_shipped;"
        "print(tandem.__file__); print(len(read_dialplan())); print(find_shipped('systemd')); print(find_shipped('examples'))"
    )
    module, dialplan, systemd, examples = run(str(python), "-c", code, cwd=tmp_path).splitlines()
    assert module.startswith(str(venv))
    assert int(dialplan) == len(list((ROOT / "dialplan").glob("*.conf")))
    assert systemd.startswith(str(venv))
    assert examples.startswith(str(venv))
    assert "serve" in run(str(venv / "bin" / "tandem"), "--help", cwd=tmp_path)
    templates = run(
        str(python), "-c", "import confgen.values as v; print(v.make_environment().list_templates())", cwd=tmp_path
    )
    assert "pjsip.conf.j2" in templates


def test_the_lock_pins_whatever_make_installs():
    """`make` installs from it: a package that it does not name could be another one tomorrow."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {normalise_name(name) for name in pins}
    metadata = run(sys.executable, "-c", "import importlib.metadata as m; print('\\n'.join(m.requires('tandem-pbx')))")
    named = {normalise_name(re.split(r"[\[<>=; ]", line)[0]) for line in metadata.splitlines()}
    assert "twisted" in named
    assert named <= pinned


def normalise_name(name):
    return re.sub("[-_.]+", "-", name).lower()
