"""The dashboard and the alert rules ask only for metrics that exist, with labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from filewatchd.service import metrics
from filewatchd.service.metrics import METRICS, Metric

PACKAGING = Path(__file__).parents[2] / "packaging"
KNOWN = {metric.name: metric for metric in METRICS}
FROM_PROMETHEUS = {"instance", "job", "le"}
VALUES = {
    "about": {*metrics.DOUBTS},
    "hold": {*metrics.HOLDS},
    "kind": {*metrics.FINDINGS},
    "outcome": {*metrics.OUTCOMES},
    "state": {*metrics.DAEMON_STATES, *metrics.RULE_STATES, *metrics.ROOT_STATES},
}

_METRIC = re.compile(r"\b(filewatchd_\w+)(?:{([^}]*)})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"([^\"]*)\"")
_GROUPING = re.compile(r"\bby \(([^)]*)\)")
_SHOWN = re.compile(r"{{\s*\$?(?:labels\.)?(\w+)\s*}}")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PACKAGING / "prometheus" / "filewatchd.rules.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return dict(json.loads((PACKAGING / "grafana" / "filewatchd.json").read_text()))


def queries() -> Iterator[tuple[str, str, str]]:
    """Where a query stands, the query, and the texts that show its labels."""
    for rule in rules():
        texts = " ".join(rule["annotations"].values())
        yield rule["alert"], rule["expr"], re.sub(r"\$value[^}]*", "", texts)
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target["legendFormat"]
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"], ""


def found(name: str) -> Metric:
    """The metric of this name, or the histogram that a bucket belongs to."""
    metric = KNOWN.get(name) or KNOWN[re.sub("_(bucket|sum|count)$", "", name)]
    assert (metric.name == name) is (metric.kind != "histogram")
    return metric


QUERIES = [pytest.param(query, texts, id=where) for where, query, texts in queries()]


@pytest.mark.parametrize(("query", "texts"), QUERIES)
def test_what_is_asked_for_exists(query: str, texts: str) -> None:
    asked = [(found(name), matchers) for name, matchers in _METRIC.findall(query)]
    assert asked
    labels = {label for metric, _ in asked for label in metric.labels} | FROM_PROMETHEUS
    for metric, matchers in asked:
        for label, value in _MATCHER.findall(matchers):
            assert label in {*metric.labels, *FROM_PROMETHEUS}
            if not value.startswith("$"):
                assert set(value.split("|")) <= VALUES[label]
    grouped = {label.strip() for group in _GROUPING.findall(query) for label in group.split(",")}
    assert grouped <= labels
    shown = set(_SHOWN.findall(texts))
    assert shown <= (grouped or labels)


def test_counters_are_asked_for_their_rates() -> None:
    """What a counter says by itself depends on when it began."""
    for _, query, _ in queries():
        for name, _ in _METRIC.findall(query):
            if name.endswith(("_total", "_bucket")):
                assert re.search(rf"(rate|increase)\({name}", query), query


def test_alerts_have_names_of_their_own_and_say_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_names_and_types_follow_prometheus_conventions() -> None:
    for metric in METRICS:
        assert re.fullmatch("filewatchd_[a-z_]+", metric.name)
        assert (metric.kind == "counter") is metric.name.endswith("_total")
        assert not {"host", "instance", "job", "path", "root"} & set(metric.labels)
        assert metric.help.endswith(".")
    families = {metric.name.removesuffix("_total") for metric in METRICS}  # as OpenMetrics has them
    assert len(families) == len(METRICS)
