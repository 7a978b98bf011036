"""`/openapi.json`: the API in OpenAPI 3.1, put together once from `operations.py` and the schemas of the parsers."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import orjson
from aiohttp import web

import headcount
from headcount.model import Scope
from headcount.web import answered, operations
from headcount.web.operations import Operation
from headcount.wire.schema import Schema, array, record, reference, text

DIALECT = "https://spec.openapis.org/oas/3.1/dialect/base"
FAULTS = {
    400: "The request is not valid: the field, and the limit.",
    401: "There is no token, it is not known, or it may not do this.",
    404: "There is no such thing.",
    409: "It exists already, or its state does not allow this.",
    413: "The body is larger than the limit.",
    417: "The only expectation that is met is 100-continue.",
    429: "Too many requests at once.",
    503: "It cannot be done right now: Postgres does not answer, or the disk is full.",
}
LATER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string", "pattern": "^[0-9]+$"}}
}
_WAIT = (429, 503)
_PATTERN = re.compile(r":[^{}]+(?=\})")

ERROR = record(
    {
        "errors": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": array(text(), 1),
            "description": "What is wrong with each field, and its limit.",
        },
        "index": {"type": "integer", "minimum": 0, "description": "Which item of an array it is about."},
    },
    ("errors",),
)


@cache
def document() -> bytes:
    """The description as it is served."""
    return orjson.dumps(described())


async def serve(request: web.Request) -> web.Response:
    """The description of the API."""
    headers = {"Cache-Control": "public, max-age=3600", "Access-Control-Allow-Origin": "*"}
    return web.Response(body=document(), content_type="application/json", headers=headers)


def described() -> dict[str, Any]:
    """The description of all operations."""
    paths: dict[str, Any] = {}
    for (method, path), operation in operations.OPERATIONS.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "Headcount",
            "version": headcount.__version__,
            "description": "Web analytics without personal data, and license heartbeats.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {"Error": ERROR, **operations.BODIES, **answered.SCHEMAS},
            "responses": {str(status): _fault(status) for status in FAULTS},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A token made by `headcount token create`; its scopes: {', '.join(Scope)}.",
                }
            },
        },
    }


def plain(path: str) -> str:
    """A path of the router as OpenAPI writes it: without the patterns of its parts."""
    return _PATTERN.sub("", path)


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": operation.summary, "operationId": f"{method.lower()} {path}"}
    parts = [_part(name) for name in re.findall(r"\{(\w+)\}", path)]
    if parameters := [*parts, *operation.parameters]:
        found["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": reference(operation.body)}}
        found["requestBody"] = {"required": operation.needs_body, "content": content}
    if operation.scope is not None:
        found["security"] = [{"token": [operation.scope]}, *([{}] if operation.open else [])]
    found["responses"] = {
        **{str(status): answer for status, answer in operation.answers.items()},
        **{str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(operation.faults)},
    }
    return found


def _part(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": text(1)}


def _fault(status: int) -> Schema:
    found: Schema = {
        "description": FAULTS[status],
        "content": {"application/json": {"schema": reference("Error")}},
    }
    return found | ({"headers": LATER} if status in _WAIT else {})
