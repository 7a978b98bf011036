"""The stats API's questions about products: their words, and how those of sites are refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from headcount import errors
from headcount.stats.question import RANGES, Match, Operator, Query
from headcount.stats.vocabulary import INSTALL_DIMENSIONS, INSTALL_METRICS, METRICS
from headcount.wire import query

VERSION = INSTALL_DIMENSIONS["install:version"]


def parse(**fields: Any) -> Query:
    asked = {"site_id": "product:shop", "metrics": ["installs"], "date_range": "30d", **fields}
    return query.parse(orjson.dumps(asked))


def refusal(**fields: Any) -> tuple[str, str]:
    with pytest.raises(errors.BadInput) as caught:
        parse(**fields)
    return caught.value.field, caught.value.message


def test_a_question_about_a_product_is_understood() -> None:
    asked = parse(
        metrics=["installs", "lost_installs"],
        dimensions=["time:week", "install:version"],
        filters=[["is", "install:version", ["2.4.1"]]],
        order_by=[["install:version", "desc"]],
        include={"time_labels": True},
    )
    assert asked.product == "shop"
    assert asked.metrics == ("installs", "lost_installs")
    assert asked.dimensions == (INSTALL_DIMENSIONS["time:week"], VERSION)
    assert asked.filters == (Match(Operator.IS, VERSION, ("2.4.1",)),)
    assert asked.order_by == (("install:version", True),)


def test_a_domain_is_no_product() -> None:
    assert parse(site_id="example.com", metrics=["visits"]).product is None


@pytest.mark.parametrize("word", [word for word in RANGES if word != "24h"])
def test_every_range_of_days_is_understood(word: str) -> None:
    assert parse(date_range=word).date_range == word


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("date_range", "24h"),
        ("dimensions", ["time:hour"]),
    ],
)
def test_hours_are_refused_because_installs_are_counted_by_the_day(field: str, given: Any) -> None:
    found, message = refusal(**{field: given})
    assert found == field
    assert message.startswith("installs are counted by the day of UTC, so there is no ")


@pytest.mark.parametrize("word", METRICS)
def test_a_metric_of_sites_is_told_where_it_belongs(word: str) -> None:
    assert refusal(metrics=[word]) == (
        "metrics",
        f"{word} is for sites, where site_id is a domain; there are {', '.join(INSTALL_METRICS)}",
    )


@pytest.mark.parametrize("word", INSTALL_METRICS)
def test_a_metric_of_products_is_told_where_it_belongs(word: str) -> None:
    field, message = refusal(site_id="example.com", metrics=[word])
    assert field == "metrics"
    assert message.startswith(f'{word} is for products, where site_id is "product:NAME"; there are visitors,')


@pytest.mark.parametrize(
    ("site_id", "key", "why"),
    [
        ("product:shop", "visit:country", "visit:country is for sites"),
        ("product:shop", "event:page", "event:page is for sites"),
        ("product:shop", "event:props:plan", "event:props is for sites"),
        ("product:shop", "event:goal", "Headcount does not have goals"),
        ("product:shop", "install:arch", '"install:arch" is no dimension'),
        ("example.com", "install:country", "install:country is for products"),
    ],
)
@pytest.mark.parametrize("where", ["dimensions", "filters"])
def test_a_dimension_of_another_kind_is_refused(site_id: str, key: str, why: str, where: str) -> None:
    given: Any = [key] if where == "dimensions" else [["is", key, ["a"]]]
    metric = "installs" if site_id.startswith("product:") else "visits"
    field, message = refusal(site_id=site_id, metrics=[metric], **{where: given})
    assert field == where
    assert message.startswith(why)
    assert "there are time" in message


@pytest.mark.parametrize(
    ("field", "given", "example"),
    [
        ("filters", [[]], '["is", "install:plan", ["team"]]'),
        ("order_by", ["installs"], '["installs", "desc"]'),
        ("date_range", "fortnight", '"day", "7d"'),
    ],
)
def test_examples_are_those_of_products(field: str, given: Any, example: str) -> None:
    found, message = refusal(**{field: given})
    assert found == field
    assert example in message
