"""Jobs for people: a list of them, and the whole story of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING, Block, Cell, Column, Fields, Lines, Table, Text, numbers
from filewatchd.cli.text import ago, counts, duration, local, number, path_in, time_in

STATES = {"running": GOOD, "backoff": WARNING, "ok": "", "failed": BAD, "cancelled": WARNING}
_OUTCOMES = {"ok": GOOD, "failed": BAD, "rejected": BAD, "cancelled": WARNING}

# ---- a list

_COLUMNS = (
    *numbers("id"),
    Column("rule", whole=True),
    Column("state", whole=True),
    Column("began", whole=True),
    *numbers("took", "paths"),
    Column("outcome"),
)


def listing(found: Mapping[str, Any]) -> Sequence[Block]:
    """A line a job."""
    if not found["jobs"]:
        return [Lines([Cell("no jobs", FAINT)])]
    more = found["next_before"]
    return [
        Table(_COLUMNS, [_row(row) for row in found["jobs"]]),
        Lines([Cell(f"there are more: --before {more}", FAINT)] if more else []),
    ]


def _row(row: Mapping[str, Any]) -> Sequence[Text]:
    state = row["state"]
    texts = (ago(row["created"]), duration(row["seconds"]), f"{row['paths']:,}", outcome(row))
    return str(row["id"]), row["rule"], Cell(state, STATES.get(state, "")), *texts


def outcome(row: Mapping[str, Any]) -> str:
    """How a job stands or ended, in words."""
    parts = [counts(row["outcomes"]), row["progress"] if row["finished"] is None else ""]
    if row["until"] is not None and row["state"] == "backoff":
        parts.append(f"attempt {row['attempt'] + 1} {ago(row['until'])}")
    text = ", ".join(filter(None, parts))
    return ": ".join(filter(None, (text, row["message"])))


# ---- one


def page(found: Mapping[str, Any]) -> Sequence[Block]:
    """The job, what led to it, what it was over, its attempts, and what its commands printed."""
    output = found["output"].expandtabs().splitlines()
    return [
        Fields(list(_job(found))),
        Table(_EVENT, [_event(event, found["job"]["created"]) for event in found["events"]], "What was noticed"),
        Table(_CHANGE, [_change(change) for change in found["changes"]], _changes_title(found)),
        Table(_ATTEMPT, [_attempt(attempt) for attempt in found["attempts"]], "Attempts"),
        Lines([_step(step) for step in found["steps"]], "Steps"),
        Lines(output, "Output"),
    ]


def _job(found: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    row, delays = found["job"], found["delays"]
    yield "job", f"{row['id']} of rule {row['rule']}, because of {_TRIGGERS.get(row['trigger'], row['trigger'])}"
    yield "state", Cell(row["state"], STATES.get(row["state"], ""))
    yield "outcome", outcome(row)
    yield "paths", f"{row['paths']:,}" + (f", {row['open']:,} without a good outcome" if row["open"] else "")
    yield "made", f"{local(row['created'])} ({ago(row['created'])}), generation {row['generation']}"
    if row["finished"]:
        yield "ended", f"{local(row['finished'])} ({ago(row['finished'])})"
    times = [f"{duration(delays[key])} {word}" for key, word in _DELAYS if delays[key]]
    if times:
        yield "time", ", ".join(times)


_TRIGGERS = {"change": "a change", "rescan": "a rescan", "schedule": "its schedule", "manual": "a request",
             "startup": "the daemon's start"}  # fmt: skip
_DELAYS = (
    ("settling", "settling"),
    ("queued", "queued"),
    ("running", "running"),
    ("backing_off", "between attempts"),
    ("total", "in all"),
)
_EVENT = (*numbers("before the job"), Column("events"), Column("path"))
_CHANGE = (Column("kind", whole=True), Column("path"), Column("outcome"))
_ATTEMPT = (*numbers("attempt"), Column("began", whole=True), *numbers("took"), Column("outcome"))


def _event(event: Mapping[str, Any], created: str) -> Sequence[Text]:
    before = (time_in(created) - time_in(event["time"])).total_seconds()
    return duration(max(0.0, before)), ", ".join(event["events"]), path_in(event)


def _changes_title(found: Mapping[str, Any]) -> str:
    told, whole = len(found["changes"]), found["job"]["paths"]
    return "Changes" if told >= whole else f"Changes ({told:,} of {whole:,})"


def _change(change: Mapping[str, Any]) -> Sequence[Text]:
    verdict = change["outcome"]
    text = ": ".join(filter(None, (verdict or "none yet", change["message"])))
    return change["kind"], moved(change), Cell(text, _OUTCOMES.get(verdict or "", FAINT))


def moved(change: Mapping[str, Any]) -> str:
    """A change's path, with the one that it had before."""
    path = path_in(change)
    return f"{path} (was {path_in(change, 'old_path')})" if change.get("old_path") else path


def _attempt(attempt: Mapping[str, Any]) -> Sequence[Text]:
    finished = attempt["finished"]
    took = (time_in(finished) - time_in(attempt["started"])).total_seconds() if finished else None
    resumed = f"from action {attempt['resume'] + 1} on" if attempt["resume"] else ""
    text = counts(attempt["outcomes"]) or ("" if finished else "runs")
    return (
        str(attempt["attempt"]),
        local(attempt["started"]),
        duration(took),
        ": ".join(filter(None, (", ".join(filter(None, (text, resumed))), attempt["message"]))),
    )


def _step(step: Mapping[str, Any]) -> str:
    return ", ".join([step["name"], *(f"{name} {value}" for name, value in step["data"].items())])


# ---- what was done about some


def retried(found: Mapping[str, Any]) -> Sequence[Block]:
    """How many paths are tried again, and which rules hold theirs."""
    held = [Cell(f"{rule} is held: {why}", WARNING) for rule, why in found["held"].items()]
    what = "a job over no path" if found.get("jobs") else _whose(found)
    return [Lines([f"trying again: {what}", *held])]


def dropped(found: Mapping[str, Any]) -> Sequence[Block]:
    """How many paths were given up."""
    return [Lines([f"given up: {_whose(found)}"])]


def cancelled(found: Mapping[str, Any]) -> Sequence[Block]:
    """What became of a job."""
    job = found["id"]
    lines: list[Text] = [f"job {job} is cancelled (it was {found['was']})"]
    if found["paths"]:
        ways = f"`filewatchctl jobs retry {job}` tries them again, `filewatchctl jobs drop {job}` gives them up"
        lines.append(f"paths left: {found['paths']:,}; {ways}")
    return [Lines(lines)]


def _whose(found: Mapping[str, Any]) -> str:
    rules = ", ".join(f"{amount:,} of {rule}" for rule, amount in found["rules"].items())
    return number(found["paths"], "path") + (f" ({rules})" if rules else "")
