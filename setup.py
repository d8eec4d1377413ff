"""Metadata of the distribution; the only place that lists packages and shipped files."""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def shipped(folder: str, pattern: str) -> tuple[str, list[str]]:
    """One data_files entry: every file of `folder` that matches, under <prefix>/share/tandem/<folder>."""
    return f"share/tandem/{folder}", sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern) if path.is_file()
    )


setup(
    name="tandem-pbx",
    version="0.1.0",
    description="The brain beside an Asterisk PBX: FastAGI decisions, generated configuration, HTTP API and dialer",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[
        "api",
        "api.compat",
        "api.compat.ari",
        "api.compat.goapi",
        "api.compat.mikopbx",
        "api.compat.while1",
        "api.v1",
        "confgen",
        "fastagi",
        "lab",
        "lab.doors",
        "tandem",
        "tandem.ami",
        "tandem.asterisk",
        "tandem.cli",
        "tandem.dialer",
        "tandem.domain",
        "tandem.settings",
        "tandem.starpy",
        "tandem.store",
        "tandem.store.migrations",
    ],
    package_data={
        "confgen": ["templates/*.j2"],
        "lab": ["sipp/*.xml", "sipp/*.sdp", "conf/*.conf"],
        "tandem.store.migrations": ["*.sql"],
    },
    data_files=[
        shipped("dialplan", "*.conf"),
        shipped("systemd", "*"),
        shipped("examples", "*.yaml"),
        shipped("examples", "*.py"),
    ],
    install_requires=[
        "argon2-cffi>=23.1",
        "click>=8.1",
        # Of spreadsheets that strangers upload, no entity is expanded: openpyxl uses it where it is there.
        "defusedxml>=0.7.1",
        "holidays>=0.60",
        "jinja2>=3.1.4",
        "klein>=24.8",
        "openpyxl>=3.1.5",
        "orjson>=3.10",
        "peewee>=3.17",
        "phonenumbers>=8.13",
        "prometheus-client>=0.21",
        "psycopg[binary]>=3.2",
        "pydantic>=2.10",
        "pyyaml>=6.0.2",
        "cryptography>=43",
        "pyopenssl>=24.2",
        "rich>=13.7",
        "service-identity>=24.1",
        # Only its static files are used: Swagger UI, for the page /api/v1/docs.
        "swagger-ui-py>=25.7",
        "treq>=24.9",
        "twisted>=24.10",
        "tzdata>=2024.1",
        "uvloop>=0.21",
    ],
    extras_require={
        "dev": [
            "grimp>=3.5",
            "hypothesis>=6.115",
            "import-linter>=2.1",
            "mkdocs>=1.6.1",
            "mkdocs-material>=9.6",
            "jsonschema>=4.23",
            "mypy>=1.13",
            "openapi-python-client>=0.24",
            "openapi-spec-validator>=0.7",
            "pytest>=8.3",
            "pytest-cov>=6.0",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.8",
            "requests>=2.32",
            "ruff>=0.8",
            "schemathesis>=4.0",
            "standardwebhooks>=1.0",
            "types-PyYAML",
            "types-openpyxl",
            "types-peewee",
            # A browser on the telephone, of the tests.
            "websockets>=15.0",
        ],
        # Peers that `make bench` measures beside us; never imported by Tandem.
        "bench": ["panoramisk>=1.4", "psutil>=6.0", "pystrix>=1.3"],
        # Draws docs/pacing.svg.
        "plot": ["matplotlib>=3.9"],
    },
    entry_points={"console_scripts": ["tandem = tandem.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Twisted",
        "Intended Audience :: Telecommunications Industry",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications :: Telephony",
    ],
)
