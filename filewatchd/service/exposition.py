"""Metrics as text: in Prometheus' format, and as a page for people. The first needs the extra ``metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from filewatchd.jobs.timings import BOUNDS, Histogram
from filewatchd.service import metrics
from filewatchd.service.metrics import METRICS, Metric, Sample, View


def exposition(view: View) -> str:
    """All metrics. It imports what it needs when it is first called, so it blocks for a while."""
    return _text((metric, metric.samples(view)) for metric in METRICS)


def ended() -> str:
    """What a textfile says when the daemon has ended: that it isn't up, and nothing that isn't so any more."""
    return _text([(METRICS[0], [((), 0)])])


def _text(filled: Iterable[tuple[Metric, Iterable[Sample]]]) -> str:
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

    class Filled(Collector):
        def collect(self) -> Iterator[Family]:
            for metric, samples in filled:
                if metric.kind == "histogram":
                    timed = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
                    for labels, histogram in samples:
                        timed.add_metric(labels, _buckets(histogram), histogram.total)
                    yield timed
                    continue
                make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                family = make(metric.name, metric.help, labels=metric.labels)
                for labels, value in samples:
                    family.add_metric(labels, float(value))
                yield family

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Filled())
    return generate_latest(registry).decode()


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative counts by upper bound, as Prometheus has them."""
    found, sum_so_far = [], 0
    for bound, count in zip(BOUNDS, histogram.counts, strict=True):
        sum_so_far += count
        found.append(("+Inf" if bound == BOUNDS[-1] else str(bound), float(sum_so_far)))
    return found


_WORDS = {
    "`state` of the daemon": metrics.DAEMON_STATES,
    "`state` of a rule": metrics.RULE_STATES,
    "`state` of a root": metrics.ROOT_STATES,
    "`hold`": metrics.HOLDS,
    "`outcome`": metrics.OUTCOMES,
    "`about`": metrics.DOUBTS,
    "`kind`": metrics.FINDINGS,
}
_HEAD = """# Metrics

<!-- Made by `python -m tools.reference`; a test compares. Change filewatchd/service/metrics.py. -->

What `GET /v1/metrics`, `control.listen` and `control.textfile` tell (see [monitor](../how-to/monitor.md)), all in
Prometheus' text format and with the extra `metrics` only. Names, types and labels are stable: metrics are added over
time, none is taken away or changes its meaning. No label has a path or a file's name; `host` and `instance` are labels
that Prometheus sets. Counters of a rule are kept over restarts; the others and histograms begin at each start.

| metric | type | labels | what it says |
|---|---|---|---|
"""


def reference() -> str:
    """docs/reference/metrics.md."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {' '.join(f'`{label}`' for label in metric.labels)} | {metric.help} |"
        for metric in METRICS
    )
    told = (f"| {label} | {' '.join(f'`{value}`' for value in values)} |" for label, values in _WORDS.items())
    bounds = " ".join(f"{bound:g}" for bound in BOUNDS[:-1])
    return (
        _HEAD
        + "\n".join(rows)
        + "\n\n## Values of labels\n\n| label | values |\n|---|---|\n"
        + "\n".join(told)
        + f"\n\nBuckets of histograms, in seconds: {bounds} and more.\n"
    )
