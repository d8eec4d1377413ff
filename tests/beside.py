"""What stands beside the checkout and not in it: the vendors' own documents; never lets a test that needs one be passed over in CI."""

import os
from typing import NoReturn

import pytest


def lacks(what: str) -> NoReturn:
    """Skips the test on a machine that has only the checkout; in CI it fails, where nothing that matters may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} must be beside the checkout in CI")
    pytest.skip(f"{what} is not beside this checkout")
