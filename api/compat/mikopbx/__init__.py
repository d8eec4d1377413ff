"""The MikoPBX auto dialer's API."""
