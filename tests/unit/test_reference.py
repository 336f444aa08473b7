"""The pages of docs/reference that are made of the code are up to date, and tell what there is."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from filewatchd.control import openapi
from filewatchd.control.api import ROUTES, Route
from tools.reference import PLACE, pages

PAGES = pages()


@pytest.mark.parametrize("name", list(PAGES))
def test_the_page_is_up_to_date(name: str) -> None:
    assert (PLACE / name).read_text() == PAGES[name], "run python -m tools.reference"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_is_told_of(route: Route) -> None:
    assert f"\n## {route.name}\n\n`{route.method} {route.path}`" in PAGES["api.md"]
    operation = json.loads(PAGES["openapi.json"])["paths"][route.path][route.method.lower()]
    assert operation["operationId"] == route.name
    assert {"200", "400", "403", "404", "500", "503"} <= operation["responses"].keys()
    told = {each["name"] for each in operation.get("parameters", ())}
    body = operation.get("requestBody")
    told |= set(body["content"]["application/json"]["schema"]["properties"]) if body else set()
    assert told == {each.name for each in openapi.arguments_of(route)}


def test_everything_that_is_referred_to_is_there() -> None:
    document = json.loads(PAGES["openapi.json"])

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*map(references, value.values()))
        return set().union(*map(references, value)) if isinstance(value, list) else set()

    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place


def test_every_schema_is_one() -> None:
    for schema in json.loads(PAGES["openapi.json"])["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_links_within_the_page_lead_somewhere() -> None:
    page = PAGES["api.md"]
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert len(anchors) == len(headings)
    links = set(re.findall(r"\]\(#([^)]*)\)", page))
    assert links <= anchors
    assert len(links) > 30
