"""The ARI Dialer REST API v1.0, mounted at `/adial/api` and `/api`; every effect is a use-case of the native API."""
