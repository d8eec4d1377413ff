"""`/api/v1/openapi.json` and a page that shows it; everything comes from here, nothing from another site."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import orjson

from api.declare import PREFIX, Reply, Route, Shown
from api.errors import Refused
from api.exchange import Exchange, Services
from api.openapi import describe_api

_DOCS: Final = f"{PREFIX}/docs"
_ASSETS: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
_PAGE: Final = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Tandem API</title>
<link rel="stylesheet" href="{_DOCS}/swagger-ui.css">
<link rel="icon" href="{_DOCS}/favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="{_DOCS}/swagger-ui-bundle.js"></script>
<script src="{_DOCS}/start.js"></script>
</body>
</html>
"""
_START: Final = f'SwaggerUIBundle({{url: "{PREFIX}/openapi.json", dom_id: "#ui", validatorUrl: null}});\n'
_POLICY: Final = (
    (
        "content-security-policy",
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    ),
)


@cache
def _read_asset(name: str) -> bytes:
    """A file of the package that ships Swagger UI; the package itself is never imported."""
    found = importlib.util.find_spec("swagger_ui")
    if found is None or found.origin is None:
        raise Refused(HTTPStatus.NOT_FOUND, "the package swagger-ui-py is not installed")
    return (Path(found.origin).parent / "static" / name).read_bytes()


async def _page(_: Services, __: Exchange) -> Reply:
    return Reply(_PAGE.encode(), media_type="text/html; charset=utf-8", headers=_POLICY)


async def _asset(_: Services, exchange: Exchange) -> Reply:
    name = exchange.path["name"]
    if name == "start.js":
        return Reply(_START.encode(), media_type="text/javascript; charset=utf-8")
    if name not in _ASSETS:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such file")
    return Reply(_read_asset(name), media_type=_ASSETS[name], headers=(("cache-control", "max-age=86400"),))


def declare_docs(routes: Sequence[Route]) -> tuple[Route, ...]:
    """The routes that tell of the others."""

    @cache
    def encode() -> bytes:
        return orjson.dumps(describe_api((*routes, openapi)))

    async def _openapi(_: Services, __: Exchange) -> Reply:
        return Reply(encode())

    openapi = Route(
        method="GET", path=f"{PREFIX}/openapi.json", permission=None, summary="This API as OpenAPI 3.1.", handler=_openapi,
        tag="documentation", operation="get_openapi", answer=Shown(dict[str, Any], name="OpenApi"),
    )  # fmt: skip
    page = Route(
        method="GET", path=_DOCS, permission=None, summary="A page to read and try the API.", handler=_page, tag="documentation",
        operation="read_docs", answer=Shown(str, media_type="text/html"),
    )  # fmt: skip
    asset = Route(
        method="GET", path=f"{_DOCS}/{{name}}", parameters={"name": "Of a file."}, permission=None, summary="Its parts.", handler=_asset, tag="documentation",
        operation="read_docs_part", answer=Shown(str, media_type="*/*"),
    )  # fmt: skip
    return openapi, page, asset
