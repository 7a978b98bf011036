"""Schemas of what is answered, made of the nouns that are."""

from __future__ import annotations

from headcount.licensed import Instance, Plan, Release, Status, Use
from headcount.model import Scope, Site
from headcount.services.health import Finding, Name, Verdict
from headcount.wire.schema import Schema, array, maybe, record, reference, shown, word

_TEXT: Schema = {"type": "string"}
_ID = {"type": "string", "pattern": "^[0-9]+$"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_JWS: Schema = {
    "type": "string",
    "pattern": r"^[\w-]+\.[\w-]+\.[\w-]+$",
    "description": "Compact JWS (RFC 7515).",
}
_NUMBER = {"type": ["number", "null"]}
_ROWS = array({"type": "object"})
_KEY = record(
    {"kid": _TEXT, "use": word(Use), "not_before": _MOMENT, "not_after": maybe(_MOMENT)},
    ("kid", "use", "not_before", "not_after"),
)
_STAYS: Schema = {"type": ["array", "object", "string"], "description": "What is not erased, and why."}


def _of(**properties: Schema) -> Schema:
    """An object that has all of these."""
    return record(properties, properties)


def _list(name: str, of: str) -> Schema:
    return _of(**{name: array(reference(of))})


def _page(name: str, of: str) -> Schema:
    return _of(**{name: array(reference(of)), "next": maybe(_TEXT)})


_PRODUCT: dict[str, Schema] = {
    "name": _TEXT,
    "root_key": _TEXT,
    "customer_fields": {"type": "boolean"},
    "created_at": _MOMENT,
    "keys": array(_KEY),
    "plans": array(reference("Plan")),
    "releases": array(reference("Release")),
}
_LICENSE: dict[str, Schema] = {
    "id": _ID,
    "product": _TEXT,
    "plan": _TEXT,
    "status": word(Status),
    "seats": maybe(_COUNT),
    "seats_limit": maybe(_COUNT),
    "seats_used": _COUNT,
    "expires_at": maybe(_MOMENT),
    "customer_ref": _TEXT,
    "created_at": _MOMENT,
}
_NAMED = {"customer_name": _TEXT, "customer_email": _TEXT}
_TOKEN: dict[str, Schema] = {
    "id": _ID,
    "site": maybe(_TEXT),
    "product": maybe(_TEXT),
    "scopes": array(word(Scope)),
}
_EXPORT: dict[str, Schema] = {
    "license": {"type": "object"},
    "instances": _ROWS,
    "heartbeats": _ROWS,
    "sharing": _ROWS,
    "heartbeats_total": _COUNT,
}
_ERASED: dict[str, Schema] = {"installs": _COUNT, "heartbeats": _COUNT, "sharing": _COUNT}

SCHEMAS: dict[str, Schema] = {
    "Figures": _of(
        results=array(_of(metrics=array(_NUMBER), dimensions=array(_TEXT))),
        meta={"type": "object"},
        query={"type": "object"},
    ),
    "Realtime": _of(visitors=_COUNT, pageviews=array(_of(minute=_MOMENT, pageviews=_COUNT))),
    "Site": shown(Site, "id", tag=_TEXT),
    "Sites": _list("sites", "Site"),
    "Token": _of(**_TOKEN),
    "NewToken": _of(token=_TEXT, **_TOKEN),
    "Tokens": _list("tokens", "Token"),
    "Checked": record({"answer": _JWS, "keys": _JWS}, ("answer",)),
    "DryRun": {"type": "object", "required": ["dropped_fields"]},
    "Freed": _of(released={"type": "boolean"}),
    "Kept": _of(**_EXPORT, why={"type": "object"}),
    "Export": _of(**_EXPORT),
    "Forgotten": _of(erased=_of(**_ERASED), stays=_STAYS),
    "Erased": _of(erased=_of(licenses=_COUNT, **_ERASED), stays=_STAYS),
    "KeySet": _of(keys=_JWS),
    "PublicKeys": _list("keys", "PublicKey"),
    "PublicKey": _of(kty=_TEXT, crv=_TEXT, alg=_TEXT, use=_TEXT, kid=_TEXT, x=_TEXT),
    "Product": _of(**_PRODUCT),
    "SetProduct": _of(**_PRODUCT, emptied=_COUNT),
    "Products": _list("products", "Product"),
    "Plan": shown(Plan, id=_ID, product=_TEXT),
    "Plans": _list("plans", "Plan"),
    "Release": shown(Release),
    "Releases": _list("releases", "Release"),
    "Withdrawn": _of(channel=_TEXT, version=_TEXT, withdrawn={"const": True}),
    "License": record({**_LICENSE, **_NAMED}, _LICENSE),
    "IssuedLicense": record({"key": _TEXT, **_LICENSE, **_NAMED}, ("key", *_LICENSE)),
    "Licenses": _page("licenses", "License"),
    "Released": _of(released=_COUNT),
    "LicenseFile": _of(file=_JWS, keys=_JWS),
    "Instance": shown(Instance, "digest", instance=_DIGEST, license=_ID),
    "Instances": _page("instances", "Instance"),
    "Health": _of(
        status=word(Verdict),
        checks={
            "type": "object",
            "propertyNames": word(Name),
            "additionalProperties": shown(Finding, verdict=word(Verdict)),
        },
    ),
}
