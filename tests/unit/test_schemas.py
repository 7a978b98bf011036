"""A schema and its parser say the same: what one takes, the other takes, and what one refuses, the other refuses.

Each starts from a body that both take; then something in it is replaced, added or left out.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount import errors
from headcount.licensed import Plan
from headcount.licensing import keys
from headcount.wire import check, event, fields, license, plan, query, release, schema, schemas, site
from headcount.wire.schema import Schema
from make import site as a_site

KEY = keys.shown(keys.new())
NOW = datetime(2026, 11, 23, tzinfo=UTC)
Parse = Callable[[Any], object]


def of_bytes(parse: Callable[[bytes], object]) -> Parse:
    return lambda given: parse(json.dumps(given).encode())


def a_plan(given: Any) -> object:
    read = fields.read(plan.Fields, given)
    plan.name("product", read.product)
    plan.name("name", read.name)
    return plan.merge(Plan(id=1, name="team"), read)


def a_license(given: Any) -> object:
    read = license.customer(fields.read(license.Fields, given))
    plan.name("product", read.product)
    plan.name("plan", read.plan)
    return license.seats(read.seats), license.end(read, NOW)


def a_release(given: Any) -> object:
    return release.release(fields.read(release.Fields, given))


def a_domain(given: Any) -> object:
    return site.merge(a_site(), site.from_values(given))


def inlined(name: str) -> Schema:
    """A schema of questions, with those it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas.questions()}}


EVENT = {
    "name": "signup",
    "url": "https://example.com/",
    "domain": "example.com",
    "props": {"plan": "team", "seats": 3, "trial": True},
    "revenue": {"currency": "EUR", "amount": "1.50"},
    "interactive": True,
    "screen_width": 1280,
    "sd": 50,
    "e": 1000,
    "user_agent": "Mozilla/5.0",
}
SHORT = {
    "n": "signup",
    "u": "https://example.com/",
    "p": {"plan": "team"},
    "$": {"currency": "EUR", "amount": 1},
    "h": 1,
}
QUESTION = {
    "site_id": "example.com",
    "metrics": ["visits", "bounce_rate"],
    "date_range": ["2026-11-01", "2026-11-22"],
    "dimensions": ["event:page", "event:props:plan"],
    "filters": [
        ["or", [["is_not", "visit:source", ["Google", 7]], ["not", ["contains", "event:page", ["/a"]]]]]
    ],
    "order_by": [["visits", "desc"]],
    "include": {"total_rows": True},
    "pagination": {"limit": 10, "offset": 3},
}
OF_PRODUCT = {
    "site_id": "product:acme",
    "metrics": ["installs"],
    "date_range": "30d",
    "dimensions": ["time:day"],
    "filters": [["is", "install:plan", ["team"], {"case_sensitive": False}]],
}
CHECK = {
    "product": "acme",
    "instance": "install-0001",
    "version": "2.4.1",
    "nonce": "n" * 22,
    "os": "linux",
    "keys": True,
}
PLAN = {
    "product": "acme",
    "name": "team",
    "seats": 5,
    "entitlements": {"sso": True, "projects": 50, "tier": "gold"},
    "check_interval": 3600,
    "lease": 86400,
    "grace": 0,
    "environments": ["staging"],
}
LICENSE = {
    "product": "acme",
    "plan": "team",
    "seats": 3,
    "for": 86400,
    "customer_ref": "C-17",
    "customer_email": "a@b.example",
}
SITE = {
    "domain": "other.example",
    "timezone": "Europe/Riga",
    "hostnames": ["shop.example.com", "*.example.com"],
    "query_params": ["page", "q[]"],
    "props": ["plan"],
    "retention_days": 7,
    "gpc": False,
}
RELEASE = {
    "version": "2.5.0-beta.1",
    "channel": "beta",
    "url": "https://example.com/2.5",
    "notes": "New",
    "security": True,
    "minimum": "2.0",
    "plans": ["team"],
}

# (schema, parser, bodies, fields of which the parser knows more than a schema can say)
CASES: dict[str, tuple[Schema, Parse, list[Any], set[str]]] = {
    "an event": (
        schemas.event(),
        of_bytes(event.parse),
        [EVENT, SHORT, [EVENT, SHORT]],
        {"domain", "props", "revenue", "sd"},
    ),
    "a question": (
        inlined("Query"),
        of_bytes(query.parse),
        [QUESTION, OF_PRODUCT],
        {"date_range", "dimensions", "filters", "include", "order_by"},
    ),
    "a check": (schemas.question(), of_bytes(check.parse), [{"key": KEY, **CHECK}], {"key"}),
    "a holder": (
        schemas.holder(),
        of_bytes(check.holder),
        [
            {"key": KEY, "product": "acme", "instance": "install-0001"},
            {"key": KEY, "instance_digest": "0f" * 32},
        ],
        {"key"},
    ),
    "a plan": (schema.fields(plan.Fields, "product", "name"), a_plan, [PLAN], {"lease"}),
    "a license": (
        schema.fields(license.Fields, "product", "plan"),
        a_license,
        [LICENSE],
        {"expires_at", "for", "customer_email"},
    ),
    "a site": (schema.fields(site.Fields), a_domain, [SITE], {"domain"}),
    "a release": (schema.fields(release.Fields, "version"), a_release, [RELEASE], {"version", "minimum"}),
}

VALUES: list[Any] = [
    # No 1.0 nor 1e300: JSON Schema takes them for whole numbers, and a parser may not.
    None, True, False, 0, 1, -1, 2, 99, 101, 1_000_001, 2**53, 2**63, 2**64, -(2**63) - 1, 1.5,
    "", " ", "a", "A", "1", "0", "true", "-1", "asc", "\0", "\u202e", "é" * 3, "a b", "a/b", "*.a", "product:x",
    *("x" * length for length in (7, 8, 22, 32, 33, 63, 64, 65, 100, 101, 120, 121, 128, 129, 200, 201, 300, 301)),
    *("9" * length for length in (15, 16, 64)), "x" * 2000, "x" * 2001,
    [], {}, [[]], [{}], ["a"], ["a", "a"], ["a", "b"], [1, 2, 3], {"a": 1}, {"": ""}, {"a": {}}, {"a": "x" * 201},
    ["a"] * 5, ["a"] * 51, {str(number): number for number in range(31)}, [["is", "event:page", ["/"]]],
]  # fmt: skip
NAMES = ["unknown", "name", "n", "a", "for", "expires_at", "instance_digest", "", "\0", "case_sensitive"]


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to everything in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, item in inner for place in places(item, (*here, key)))]


@st.composite
def nearly(draw: st.DrawFn, bodies: list[Any]) -> Any:
    """One of the bodies with one thing changed."""
    body = [copy.deepcopy(draw(st.sampled_from(bodies)))]
    *way, last = draw(st.sampled_from([(0, *place) for place in places(body[0])]))
    holder: Any = body
    for key in way:
        holder = holder[key]
    here = holder[last]
    change = draw(st.sampled_from(["replace", "remove", "add", "repeat"]))
    if change == "remove" and way:
        del holder[last]
    elif change == "add" and isinstance(here, dict):
        here[draw(st.sampled_from(NAMES))] = draw(st.sampled_from(VALUES))
    elif change == "repeat" and isinstance(here, list):
        holder[last] = here * draw(st.sampled_from([2, 3, 30, 101, 501]))
    else:
        holder[last] = draw(st.sampled_from(VALUES))
    return body[0]


def fault(parse: Parse, body: Any) -> str | None:
    """The field that the parser refuses; None: it takes the body."""
    try:
        parse(body)
    except errors.BadInput as error:
        return error.field
    return None


@pytest.mark.parametrize("name", CASES)
def test_the_bodies_to_begin_with_are_taken_by_both(name: str) -> None:
    said, parse, bodies, _ = CASES[name]
    for body in bodies:
        jsonschema_rs.validate(said, body)
        assert fault(parse, body) is None


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_a_schema_takes_what_its_parser_takes_and_nothing_else(name: str, data: st.DataObject) -> None:
    said, parse, bodies, beyond = CASES[name]
    body = data.draw(nearly(bodies))
    refused = fault(parse, body)
    if jsonschema_rs.is_valid(said, body):
        assert refused in {None, *beyond}
    else:
        assert refused is not None
