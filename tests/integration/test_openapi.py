"""The description of the API is whole, valid, and served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

import make
from headcount.web import answers, openapi, operations, routes
from make import Worker


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    async with make.worker(tmp_path) as worker:
        yield worker


def test_every_route_is_described_and_nothing_else() -> None:
    served = [(route.method, openapi.plain(route.path)) for route in routes.routes()]
    assert sorted(served) == sorted(operations.OPERATIONS)


def test_the_description_is_valid_openapi() -> None:
    OPENAPI_31_VALIDATOR.validate(openapi.described())


def test_every_status_of_an_error_is_described() -> None:
    assert openapi.FAULTS.keys() == {*answers.STATUS.values(), answers.UNMET}


@pytest.mark.parametrize("operation", operations.OPERATIONS.values())
def test_what_needs_a_token_says_what_is_said_without_one(operation: operations.Operation) -> None:
    assert (401 in operation.faults) >= (operation.scope is not None)


async def test_it_is_served_for_programs_of_any_origin(worker: Worker) -> None:
    response = await worker.client.get("/openapi.json")
    assert (response.status, response.content_type) == (200, "application/json")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "public, max-age=3600"
    assert await response.json() == openapi.described()
