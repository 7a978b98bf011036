"""Says in JSON Schema (2020-12) what the parsers of this folder take, for `/openapi.json`.

Each schema stands beside its parser and is made of the parser's own types, limits and patterns. What holds only
between fields (an end after its beginning) is beyond a schema, and is said by the error alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]

STORABLE = r"^[^\u0000]*$"


def says(**more: Any) -> msgspec.Meta:
    """What a field's check, which names field and limit, asks for besides the type."""
    return msgspec.Meta(extra_json_schema=more)


def fits(pattern: re.Pattern[str]) -> str:
    """The pattern of a text that fits as a whole."""
    return f"^(?:{pattern.pattern})$"


def reference(name: str) -> Schema:
    """The schema of this name among the document's own."""
    return {"$ref": f"#/components/schemas/{name}"}


def text(least: int = 0, most: int | None = None, pattern: str = STORABLE) -> Schema:
    """A text of so many characters."""
    found: Schema = {"type": "string", "pattern": pattern}
    return found | ({"minLength": least} if least else {}) | ({"maxLength": most} if most is not None else {})


def whole(low: int, high: int | None = None) -> Schema:
    """A whole number."""
    return {"type": "integer", "minimum": low} | ({"maximum": high} if high is not None else {})


def word(words: Iterable[str]) -> Schema:
    """One of these words."""
    return {"type": "string", "enum": list(words)}


def array(of: Schema, least: int = 0, most: int | None = None, **more: Any) -> Schema:
    return {"type": "array", "items": of, "minItems": least, **more} | (
        {} if most is None else {"maxItems": most}
    )


def record(properties: dict[str, Schema], required: Iterable[str] = (), *, closed: bool = True) -> Schema:
    """An object. `closed`: other fields are refused."""
    found: Schema = {"type": "object", "properties": properties, "required": list(required)}
    return found | ({"additionalProperties": False} if closed else {})


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def fields(kind: type[msgspec.Struct], *required: str, **replaced: Schema) -> Schema:
    """What `fields.read` takes for a struct. `replaced`: what is said of a field in place of its type."""
    found = _of(kind)
    return record({**found["properties"], **replaced}, required)


def shown(kind: type[msgspec.Struct], *hidden: str, **more: Schema) -> Schema:
    """A struct as it is answered: all fields but the hidden ones, and more."""
    found = _of(kind)
    properties = {name: of for name, of in found["properties"].items() if name not in hidden} | more
    return record({name: _plain(of) for name, of in properties.items()}, properties, closed=False)


def _of(kind: type[msgspec.Struct]) -> Schema:
    _, found = msgspec.json.schema_components([kind])
    schema: Schema = found[kind.__name__]
    return schema


def _plain(schema: Schema) -> Schema:
    """Without the default that a request has, and an answer has not."""
    return {name: value for name, value in schema.items() if name != "default"}
