"""Metrics: one table of all there are, with where each value comes from. It is a contract: docs/reference/metrics.md.

Nothing is counted for them: they are read from the status document when somebody asks. No label ever has a path or a
file's name: they are told on a TCP port, to everybody on this host. `host` and `instance` are Prometheus' own labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from filewatchd.control import documents
from filewatchd.jobs.expecting import FINDING
from filewatchd.jobs.timings import Histogram, Timings

DAEMON_STATES = ("starting", "running", "blocked", "draining")
RULE_STATES = ("idle", "waiting", "running", "paused", "disabled")
ROOT_STATES = ("waiting", "scanning", "live", "degraded", "stalled")
DOUBTS = ("state", "journal", "overflow", "degraded", "stalled", "skipped", "held", "paused")
FINDINGS = ("expect", "other")
OUTCOMES = ("ok", "skipped", "rejected", "failed", "cancelled")
HOLDS = ("loops", "masses", "broken", "paused")


class View(NamedTuple):
    """What they are made of, as it was at one moment. ``timings``: by rule."""

    status: documents.Status
    timings: Mapping[str, Timings]


Sample = tuple[tuple[str, ...], Any]  # values of the labels; a number, or a `Histogram`


class Metric(NamedTuple):
    """A metric: a counter's name ends in ``_total``. ``samples`` fills it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    samples: Callable[[View], Iterable[Sample]]


def _one(value: Callable[[documents.Status], float]) -> Callable[[View], Iterable[Sample]]:
    return lambda view: [((), value(view.status))]


def _rules(value: Callable[[documents.RuleStatus], float]) -> Callable[[View], Iterable[Sample]]:
    return lambda view: [((name,), value(rule)) for name, rule in view.status.rules.items()]


def _counted(*names: str) -> Callable[[View], Iterable[Sample]]:
    return _rules(lambda rule: sum(rule.counters.get(name, 0) for name in names))


def _backends(*keys: str) -> Callable[[View], Iterable[Sample]]:
    """What backends count under one of these keys; those that don't count it are left out."""

    def samples(view: View) -> Iterator[Sample]:
        for name, backend in view.status.watch.backends.items():
            yield from (((name,), backend[key]) for key in keys if key in backend)

    return samples


def _states(
    value: Callable[[documents.Status], str | None], words: tuple[str, ...]
) -> Callable[[View], Iterable[Sample]]:
    return lambda view: [((word,), float(value(view.status) == word)) for word in words]


def _rule_states(view: View) -> Iterator[Sample]:
    for name, rule in view.status.rules.items():
        yield from (((name, word), float(rule.state == word)) for word in RULE_STATES)


def _paused(view: View) -> Iterator[Sample]:
    for name, rule in view.status.rules.items():
        hold = rule.paused.hold if rule.paused is not None else None
        yield from (((name, word), float(hold == word)) for word in HOLDS)


def _outcomes(view: View) -> Iterator[Sample]:
    for name, rule in view.status.rules.items():
        yield from (((name, outcome), rule.counters.get(outcome, 0)) for outcome in OUTCOMES)


def _findings(view: View) -> Iterator[Sample]:
    found = Counter((f.rule, "expect" if f.key == FINDING else "other") for f in view.status.findings)
    for name in dict.fromkeys([*view.status.rules, *(rule for rule, _ in found)]):
        yield from (((name, kind), found[name, kind]) for kind in FINDINGS)


def _roots(view: View) -> Iterator[Sample]:
    found: Counter[tuple[str, str]] = Counter((root.backend, root.state) for root in view.status.watch.roots)
    for backend in view.status.watch.backends:
        yield from (((backend, state), found[backend, state]) for state in ROOT_STATES)


def _unwatched(view: View) -> Iterator[Sample]:
    found: Counter[str] = Counter()
    for root in view.status.watch.roots:
        found[root.backend] += root.missing
    yield from (((backend,), found[backend]) for backend in view.status.watch.backends)


def _doubts(view: View) -> Iterator[Sample]:
    found = Counter(reason.about for reason in view.status.promise.reasons)
    yield from (((about,), found[about]) for about in dict.fromkeys([*DOUBTS, *found]))


def _timed(which: Callable[[Timings], Histogram]) -> Callable[[View], Iterable[Sample]]:
    return lambda view: [((name,), which(timings)) for name, timings in view.timings.items()]


def _known(value: Callable[[documents.Status], float | None]) -> Callable[[View], Iterable[Sample]]:
    """A value that some systems haven't."""

    def samples(view: View) -> Iterator[Sample]:
        found = value(view.status)
        if found is not None:
            yield (), found

    return samples


_RULE = ("rule",)
_BACKEND = ("backend",)

METRICS = (
    # the daemon
    Metric("filewatchd_up", "gauge", "1 while the daemon runs; 0 in the textfile it leaves at its end.", (),
           _one(lambda s: 1)),
    Metric("filewatchd_info", "gauge", "1, with the daemon's version.", ("version",),
           lambda view: [((view.status.version,), 1)]),
    Metric("filewatchd_uptime_seconds", "gauge", "How long it runs.", (), _one(lambda s: s.uptime)),
    Metric("filewatchd_state", "gauge", "1 for the state it is in. `blocked`: the job journal can't be written.",
           ("state",), _states(lambda s: s.state, DAEMON_STATES)),
    Metric("filewatchd_generation", "gauge", "The configuration in force: the number of loads so far.", (),
           _one(lambda s: s.generation)),
    Metric("filewatchd_config_error", "gauge", "1 if the last reload was refused, and the old configuration goes on.",
           (), _one(lambda s: s.config_error is not None)),
    # the promise
    Metric("filewatchd_promise_kept", "gauge", "1 if every change is sure to lead to a finished job; 0 in doubt.", (),
           _one(lambda s: s.promise.kept)),
    Metric("filewatchd_promise_doubts", "gauge", "What puts the promise in doubt now: how many roots, rules or files.",
           ("about",), _doubts),
    Metric("filewatchd_doubts_total", "counter", "How often the promise came into doubt.", (),
           _one(lambda s: s.promise.doubts)),
    Metric("filewatchd_doubt_seconds_total", "counter", "How long it was in doubt, in all.", (),
           _one(lambda s: s.promise.seconds_in_doubt_total)),
    # rules
    Metric("filewatchd_rule_state", "gauge", "1 for the state the rule is in.", ("rule", "state"), _rule_states),
    Metric("filewatchd_paused", "gauge",
           "1 if the rule is held: `paused` by somebody, by a loop, by its limit (masses), by a recovery that failed.",
           ("rule", "hold"), _paused),
    Metric("filewatchd_changes_total", "counter", "Changes that the rule had.", _RULE, _counted("changes")),
    Metric("filewatchd_outcomes_total", "counter", "Paths by the outcome of each attempt at them.",
           ("rule", "outcome"), _outcomes),
    Metric("filewatchd_transients_total", "counter", "Files that came and went before anybody looked.", _RULE,
           _counted("transient")),
    Metric("filewatchd_look_errors_total", "counter", "Looks at the disk that failed, and were made again.", _RULE,
           _counted("look_errors")),
    Metric("filewatchd_skipped_while_busy_total", "counter", "Paths left because of `on_busy: skip`.", _RULE,
           _counted("skipped_while_busy")),
    Metric("filewatchd_dirty_paths", "gauge", "Paths that settle, or wait for a slot.", _RULE,
           _rules(lambda rule: rule.dirty)),
    Metric("filewatchd_running_jobs", "gauge", "Jobs that run.", _RULE, _rules(lambda rule: rule.running)),
    Metric("filewatchd_retrying_paths", "gauge", "Paths in back-off.", _RULE, _rules(lambda rule: rule.retrying)),
    Metric("filewatchd_failed_paths", "gauge", "Paths that wait for `jobs retry` or a change.", _RULE,
           _rules(lambda rule: rule.failed)),
    Metric("filewatchd_open_paths", "gauge", "Paths attempted without a good outcome.", _RULE,
           _rules(lambda rule: rule.open)),
    Metric("filewatchd_held_files", "gauge", "Files held open for longer than ready_timeout.", _RULE,
           _rules(lambda rule: rule.held)),
    Metric("filewatchd_skipped_paths", "gauge", "Paths that `on_busy: skip` has left, and that wait for a change.",
           _RULE, _rules(lambda rule: rule.skipped)),
    Metric("filewatchd_findings", "gauge", "What a person should look at. `expect`: nothing came in time.",
           ("rule", "kind"), _findings),
    Metric("filewatchd_attempt_seconds", "histogram", "How long each attempt at a job ran.", _RULE,
           _timed(lambda timings: timings.attempts)),
    Metric("filewatchd_latency_seconds", "histogram", "From the first event of a job's paths to the job's end.", _RULE,
           _timed(lambda timings: timings.latencies)),
    # watching
    Metric("filewatchd_roots", "gauge", "Roots by the state they are in.", ("backend", "state"), _roots),
    Metric("filewatchd_unwatched_directories", "gauge", "Directories below roots that couldn't be watched.", _BACKEND,
           _unwatched),
    Metric("filewatchd_raw_events_total", "counter", "Raw events read.", _BACKEND, _backends("raw_events", "events")),
    Metric("filewatchd_overflows_total", "counter", "Times that the kernel lost events.", _BACKEND,
           _backends("overflows")),
    Metric("filewatchd_rescans_total", "counter", "Roots compared with the disk because events were lost.", _BACKEND,
           _backends("rescans")),
    Metric("filewatchd_scanned_directories_total", "counter", "Directories compared with the disk.", _BACKEND,
           _backends("scanned_directories")),
    Metric("filewatchd_watches", "gauge", "inotify watches held.", (), _one(lambda s: s.watch.watches)),
    Metric("filewatchd_watches_limit", "gauge", "Watches that all processes of the daemon's user may hold together.",
           (), _known(lambda s: s.watch.watches_limit)),
    # the job journal
    Metric("filewatchd_journal_writable", "gauge", "0 while the job journal can't be written, and no job starts.", (),
           _one(lambda s: s.journal["writable"])),
    Metric("filewatchd_journal_failures_total", "counter", "How often it came to that.", (),
           _one(lambda s: s.journal["failed"])),
    Metric("filewatchd_journal_size_bytes", "gauge", "The size of the job journal.", (),
           _one(lambda s: s.journal["size"])),
    Metric("filewatchd_journal_log_size_bytes", "gauge", "The size of its write-ahead log.", (),
           _one(lambda s: s.journal["log_size"])),
    Metric("filewatchd_journal_waiting_outcomes", "gauge", "Ended jobs whose outcome couldn't be written yet.", (),
           _one(lambda s: s.journal["outcomes"])),
    # the process
    Metric("filewatchd_resident_memory_bytes", "gauge", "Resident memory.", (), _one(lambda s: s.process.memory)),
    Metric("filewatchd_open_descriptors", "gauge", "Open file descriptors.", (),
           _one(lambda s: s.process.descriptors)),
    Metric("filewatchd_descriptors_limit", "gauge", "How many it may have.", (),
           _one(lambda s: s.process.descriptors_limit)),
    Metric("filewatchd_cpu_seconds_total", "counter", "CPU time of the daemon itself, without its commands.", (),
           _one(lambda s: s.process.cpu_seconds)),
    Metric("filewatchd_threads", "gauge", "Threads.", (), _one(lambda s: s.process.threads)),
    Metric("filewatchd_running_commands", "gauge", "Commands that run.", (),
           _one(lambda s: len(s.commands["running"]))),
    # the control socket
    Metric("filewatchd_control_open_connections", "gauge", "Connections to the control socket.", (),
           _one(lambda s: s.control["open"])),
    Metric("filewatchd_control_connections_total", "counter", "Connections so far.", (),
           _one(lambda s: s.control["connections"])),
    Metric("filewatchd_control_requests_total", "counter", "Requests so far.", (),
           _one(lambda s: s.control["requests"])),
    Metric("filewatchd_control_refused_total", "counter", "Requests of users that may not ask or act.", (),
           _one(lambda s: s.control["refused"])),
    Metric("filewatchd_control_turned_away_total", "counter", "Connections for which there was no room.", (),
           _one(lambda s: s.control["turned_away"])),
    Metric("filewatchd_control_cut_off_total", "counter", "Connections that dawdled, broke off or spoke no HTTP.", (),
           _one(lambda s: s.control["cut_off"])),
)  # fmt: skip
