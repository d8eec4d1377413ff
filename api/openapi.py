"""The OpenAPI 3.1 document, made of the declared routes; never says more or less than they do."""

from collections.abc import Iterable
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from api.declare import JSON, Body, Route, Shown
from api.dialect import NATIVE, Dialect
from api.uploads import BYTES, FILE_FIELD, MULTIPART

_REF: Final = "#/components/schemas/{model}"
_ERRORS: Final = "Error"
_BINARY: Final[dict[str, Any]] = {"type": "string", "format": "binary"}
# What any route may answer besides its own.
_ALWAYS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INTERNAL_SERVER_ERROR)
_MEANINGS: Final = {
    HTTPStatus.BAD_REQUEST: "The address, a header or the JSON cannot be read.",
    HTTPStatus.UNAUTHORIZED: "No token, a wrong one, or one that has ended.",
    HTTPStatus.FORBIDDEN: "The token does not have the permission.",
    HTTPStatus.NOT_FOUND: "There is none of this name.",
    HTTPStatus.CONFLICT: "It does not go with what there is: it exists already, something leads to it, the Idempotency-Key was used for another body.",
    HTTPStatus.PRECONDITION_FAILED: "It was changed meanwhile: read it again.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of another Content-Type.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A field or a parameter is not as it must be; `problems` names each with its rule.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many at once or in a minute; the header Retry-After says when to come back, in seconds.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of Tandem's; its log says which.",
    HTTPStatus.BAD_GATEWAY: "Asterisk refused it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database or Asterisk cannot be asked now.",
    HTTPStatus.INSUFFICIENT_STORAGE: "The disk is full; what was live is live.",
}


def describe_api(routes: Iterable[Route], dialect: Dialect = NATIVE) -> dict[str, Any]:
    """The document of these routes."""
    schemas: dict[str, Any] = {_ERRORS: dict(dialect.error_schema)}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _describe_route(route, schemas, dialect)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": dialect.title,
            "version": version("tandem-pbx"),
            "description": dialect.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`tandem_<id>_<64 hexadecimal digits>`"}
            },
        },
    }


def _describe_route(route: Route, schemas: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    permission = "Needs no token." if route.permission is None else f"Takes the permission `{route.permission}`."
    described: dict[str, Any] = {
        "operationId": route.operation,
        "tags": [route.tag],
        "summary": route.summary,
        "description": permission,
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas), *_header_parameters(route)],
        "responses": _responses(route, schemas, dialect),
    }
    if route.permission is None:
        described["security"] = [{}, {"token": []}]
    if route.body is not None:
        content: dict[str, Any] = {"schema": _schema_of(route.body, schemas, "validation")}
        if route.body.example is not None:
            content["example"] = route.body.example
        described["requestBody"] = {
            "required": not route.body.optional,
            "content": {route.body.media_type: content, **_describe_files(route.body, schemas)},
        }
    return described


def _describe_files(body: Body, schemas: dict[str, Any]) -> dict[str, Any]:
    if not body.takes_files:
        return {}
    properties = {FILE_FIELD: _BINARY, **{name: {"type": "string"} for name in body.fields}}
    schemas["Upload"] = {"type": "object", "title": "Upload", "required": [FILE_FIELD], "properties": properties}
    return {MULTIPART: {"schema": {"$ref": _REF.format(model="Upload")}}, BYTES: {"schema": _BINARY}}


def _path_parameters(route: Route) -> Iterable[dict[str, Any]]:
    for name in route.path_names:
        words = route.parameters.get(name, f"The {name.replace('_', ' ')}.")
        yield {"name": name, "in": "path", "required": True, "description": words, "schema": {"type": "string"}}


def _query_parameters(route: Route, schemas: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if route.query is None:
        return
    schema = _clean(route.query.model_json_schema(ref_template=_REF, schema_generator=_Schema))
    _take_definitions(schema, schemas)
    for name, field in schema.get("properties", {}).items():
        # A query has no null: a parameter is there or not.
        kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
        shape = {key: value for key, value in field.items() if key not in ("anyOf", "description", "title", "default")}
        shape |= kinds[0] if len(kinds) == 1 else ({"anyOf": kinds} if kinds else {})
        if field.get("default") is not None:
            shape["default"] = field["default"]
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": shape}
        if "description" in field:
            parameter["description"] = field["description"]
        yield parameter


def _header_parameters(route: Route) -> Iterable[dict[str, Any]]:
    if route.method == "POST" and route.permission is not None:
        yield _header("Idempotency-Key", "Repeats within 24 hours are answered as the first time.", {"maxLength": 255})
    if (route.etag and route.method in ("PUT", "PATCH")) or (
        route.method == "DELETE" and HTTPStatus.PRECONDITION_FAILED in route.raises
    ):
        yield _header("If-Match", "Only if it is still as this ETag says.", {})
    if HTTPStatus.PARTIAL_CONTENT in route.raises:
        yield _header("Range", "A part of the file, such as `bytes=0-1023`.", {})
        yield _header("If-Range", "The part only if it is still as this ETag says, else the whole.", {})
    if HTTPStatus.NOT_MODIFIED in route.raises:
        yield _header("If-None-Match", "Only if it is not as this ETag says.", {})


def _header(name: str, description: str, rules: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "string", "pattern": r"^[\x21-\x7E]+$", **rules}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


def _responses(route: Route, schemas: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    status = HTTPStatus(route.status)
    answer: dict[str, Any] = {"description": status.phrase}
    if route.answer is not None:
        answer["content"] = {route.answer.media_type: {"schema": _schema_of(route.answer, schemas, "serialization")}}
    if route.etag:
        answer["headers"] = {"ETag": {"schema": {"type": "string"}}}
    responses = {str(int(status)): answer}
    errors = {*_ALWAYS, *route.raises}
    if route.permission is not None:
        errors |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    else:
        errors.add(HTTPStatus.UNAUTHORIZED)
    if route.query is not None or route.body is not None:
        errors.add(HTTPStatus.UNPROCESSABLE_ENTITY)
    if route.body is not None:
        errors |= {HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE}
    if route.method == "POST" and route.permission is not None:
        errors.add(HTTPStatus.CONFLICT)
    if not route.query:
        errors.add(HTTPStatus.UNPROCESSABLE_ENTITY)  # a query where none is known
    for error in sorted({dialect.turn_status(error) for error in errors}):
        if error == HTTPStatus.PARTIAL_CONTENT:
            responses[str(int(error))] = {**answer, "description": error.phrase}
        elif error == HTTPStatus.NOT_MODIFIED:
            responses[str(int(error))] = {"description": error.phrase}
        else:
            content = {JSON: {"schema": {"$ref": _REF.format(model=_ERRORS)}}}
            responses[str(int(error))] = {"description": _MEANINGS.get(error, error.phrase), "content": content}
    return responses


class _Schema(GenerateJsonSchema):
    """Pydantic's schemas without warnings for defaults that JSON does not have; an answer has every field, with a default or not."""

    ignored_warning_kinds = frozenset({"non-serializable-default", "skipped-choice"})  # type: ignore[assignment]  # a set of literals

    def field_is_required(self, field: Any, total: bool) -> bool:
        """What is sent may lack what has a default; what is answered never does."""
        return self.mode == "serialization" or super().field_is_required(field, total)


def _schema_of(shape: Body | Shown, schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    """A reference to the schema of a body or answer, which becomes a component."""
    if shape.kind is str:
        return {"type": "string"}
    if shape.kind is bytes:
        return _BINARY
    kind = shape.kind
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schema = kind.model_json_schema(mode=mode, ref_template=_REF, schema_generator=_Schema)
    else:
        schema = TypeAdapter(kind).json_schema(mode=mode, ref_template=_REF, schema_generator=_Schema)
    schema = _clean(schema)
    _take_definitions(schema, schemas)
    name = shape.name or str(schema.get("title"))
    if "$ref" in schema and set(schema) == {"$ref"}:
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    schemas[name] = {**shape.schema(schema), "title": name}
    return {"$ref": _REF.format(model=name)}


def _take_definitions(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    for name, definition in schema.pop("$defs", {}).items():
        known = schemas.setdefault(name, definition)
        assert set(known.get("properties", ())) == set(definition.get("properties", ())), (
            f"two models are called {name}"
        )


def _clean(value: Any) -> Any:
    r"""What JSON Schema understands of pydantic's: `\A…\z` is `^…$` there, as a value and as a key."""
    if isinstance(value, dict):
        return {_clean_pattern(key): _clean(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_clean(part) for part in value]
    return _clean_pattern(value)


def _clean_pattern(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("\\A"):
        return f"^{value[2:].removesuffix(chr(92) + 'z')}$"
    return value
