"""Schemathesis as our tests run it: every operation of the document, with answers held against it; the seed is fixed."""

import sys
from pathlib import Path

CHECKS = ",".join(
    (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance", "unsupported_method"),
    )
)
# Answers without an end: schemathesis would wait for it. tests/api/test_events.py holds them against what is declared.
ENDLESS = ("listen_events", "stream_states")
# Answered with 503 while there is no Asterisk, which is right and would be found; they run in tests/asterisk/test_api.py, beside one.
NEED_ASTERISK = (
    *(
        "list_channels",
        "list_queue_states",
        "list_agents",
        "create_call",
        "apply_config",
        "import_config",
    ),
    *("roll_back_config", "adopt_hand_edits", "list_queue_agents", "get_queue_agent", "log_agent_in", "log_agent_out"),
    *("pause_agent", "unpause_agent", "hang_up_channel", "redirect_channel"),
)


def command(url, token, phase, *, only="", without=(), max_examples=8):
    """The command line of one run. only, without: operations, as a regular expression and as names."""
    # One worker: in two threads at once Python 3.11's `ast`, which hypothesis uses, counts its depth wrongly (SystemError, cpython issue 106905).
    left_out = "|".join(f"^{name}$" for name in (*ENDLESS, *without))
    return [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/api/v1/openapi.json"),
        *("--header", f"Authorization: Bearer {token}", "--include-operation-id-regex", only or "."),
        *("--exclude-operation-id-regex", left_out, "--checks", CHECKS, "--phases", phase),
        *("--max-examples", str(max_examples), "--workers", "1", "--seed", "3", "--generation-deterministic", "--no-color"),
        *("--request-timeout", "20", "--suppress-health-check", "all"),
    ]  # fmt: skip
