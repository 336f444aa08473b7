"""The view itself: textual draws, a thread asks the daemon once a second and when something was done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from filewatchd.cli.text import number, time_in
from filewatchd.cli.top import figures
from filewatchd.control.api import RequestError
from filewatchd.errors import FilewatchdError
from filewatchd.notation import one_line

_EVERY = 1.0  # seconds
_FAILURES = 20
_LISTED = 100  # running jobs
_TABLES = {
    "rules": ("rules", figures.RULES),
    "running": ("running jobs", figures.RUNNING),
    "failed": ("last failures", figures.FAILED),
}
Ask = Callable[[str, Mapping[str, Any]], dict[str, Any]]


class Story(ModalScreen[None]):
    """A job's story, over the rest."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "back")]
    DEFAULT_CSS = "Story { align: center middle; } Story > VerticalScroll { width: 90%; height: 90%; border: round; }"

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        """A page that scrolls."""
        with VerticalScroll():
            yield Static("\n".join(self._lines), markup=False)


class Pausing(ModalScreen[str | None]):
    """Asks for how long a rule shall rest, and why."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "back")]
    DEFAULT_CSS = "Pausing { align: center middle; } Pausing > Input { width: 60; }"

    def __init__(self, rule: str) -> None:
        super().__init__()
        self._rule = rule

    def compose(self) -> ComposeResult:
        """One line to type in."""
        field = Input(placeholder="reason")
        field.border_title = f"pause {self._rule} for 30m because"
        yield field

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: that's the reason."""
        self.dismiss(event.value)


class Top(App[int]):
    """Rules, running jobs and last failures, once a second."""

    TITLE = "filewatchctl top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "pause / resume rule"),
        Binding("r", "retry", "retry failed"),
        Binding("s", "story", "job's story (or Enter)"),
        Binding("tab", "focus_next", "next table"),
        Binding("q,ctrl+c", "quit", "quit"),
    ]
    CSS = """
    #head, #message { height: 1; }
    #message { color: $warning; }
    #rules { height: 2fr; }
    #running, #failed { height: 1fr; }
    DataTable { border-top: solid $primary; border-title-align: left; }
    """

    def __init__(self, ask: Ask) -> None:
        """``ask``: a route by name, with its arguments; it blocks, and raises RequestError or FilewatchdError."""
        super().__init__()
        self._ask = ask
        self._changes = figures.Rates()
        self._progress = figures.Rates()
        self._paused: set[str] = set()

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Static(id="head", markup=False)
        for name, (title, _) in _TABLES.items():
            table: DataTable[str] = DataTable(id=name, cursor_type="row", zebra_stripes=True)
            table.border_title = title
            yield table
        yield Static(id="message", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to ask."""
        for name, (_, columns) in _TABLES.items():
            for column in columns:
                self._rows(name).add_column(column, key=column)
        self._look()
        self.set_interval(_EVERY, self._look)

    # ---- asking

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        try:
            status = self._ask("status", {})
            running = self._ask("jobs", {"state": "running", "limit": _LISTED})["jobs"]
            failed = self._ask("jobs", {"state": "failed", "limit": _FAILURES})["jobs"]
        except (RequestError, FilewatchdError) as error:
            self.call_from_thread(self._say, str(error))
        else:
            self.call_from_thread(self._show, status, running, failed)

    @work(thread=True, group="act")
    def _act(self, name: str, arguments: Mapping[str, Any], told: Callable[[dict[str, Any]], str]) -> None:
        try:
            said = told(self._ask(name, arguments))
        except (RequestError, FilewatchdError) as error:
            said = str(error)
        self.call_from_thread(self._say, said)
        self.call_from_thread(self._look)

    @work(thread=True, exclusive=True, group="story")
    def _tell(self, job: int) -> None:
        try:
            lines = figures.story_lines(self._ask("job", {"id": job}))
        except (RequestError, FilewatchdError) as error:
            self.call_from_thread(self._say, str(error))
        else:
            self.call_from_thread(self.push_screen, Story(lines))

    # ---- showing

    def _say(self, text: str) -> None:
        self.screen_stack[0].query_one("#message", Static).update(one_line(text))

    def _show(self, status: Mapping[str, Any], running: list[dict[str, Any]], failed: list[dict[str, Any]]) -> None:
        now, wall = time.monotonic(), datetime.now(UTC)
        rules: dict[str, Any] = status["rules"]
        self._paused = {name for name, rule in rules.items() if rule["state"] == "paused"}
        self._changes.add(now, {name: rule["counters"].get("changes", 0) for name, rule in rules.items()})
        self._progress.add(now, {job["id"]: job["done"] for job in running if job.get("done") is not None})
        self._head(figures.headline(status))
        self._fill("rules", {name: figures.rule_cells(name, r, self._changes.of(name)) for name, r in rules.items()})
        self._fill("running", {
            str(job["id"]): figures.job_cells(job, _since(job["started"], wall), self._progress.of(job["id"]))
            for job in running
        })  # fmt: skip
        self._fill("failed", {
            str(job["id"]): figures.failed_cells(job, _since(job["finished"] or job["started"], wall)) for job in failed
        })  # fmt: skip

    def _head(self, text: str) -> None:
        self.screen_stack[0].query_one("#head", Static).update(text)

    def _fill(self, name: str, rows: Mapping[str, list[str]]) -> None:
        """Bring a table up to date, without moving its cursor from what it points at."""
        table = self._rows(name)
        keys = [str(row.key.value) for row in table.ordered_rows]
        if keys == list(rows):
            for key, cells in rows.items():
                for column, cell in zip(table.columns, cells, strict=True):
                    if table.get_cell(key, column) != cell:
                        table.update_cell(key, column, cell, update_width=True)
            return
        chosen = self._chosen(name)
        table.clear()
        for key, cells in rows.items():
            table.add_row(*cells, key=key)
        if chosen is not None and chosen in rows:
            table.move_cursor(row=list(rows).index(chosen), animate=False)

    def _rows(self, name: str) -> DataTable[str]:
        return self.screen_stack[0].query_one(f"#{name}", DataTable)

    def _chosen(self, name: str) -> str | None:
        """The row that a table's cursor is on."""
        table = self._rows(name)
        if not table.row_count:
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    # ---- keys

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter, or a click."""
        self.action_story()

    def action_pause(self) -> None:
        """Pause the chosen rule, or let it go on."""
        rule = self._chosen("rules")
        if rule is None:
            return
        if rule in self._paused:
            self._act("resume", {"rule": rule}, lambda answer: self._goes_on(rule))
            return

        def typed(reason: str | None) -> None:
            if reason is not None:
                arguments = {"rule": rule, "seconds": 1800.0, "reason": reason}
                self._act("pause", arguments, lambda answer: self._rests(rule))

        self.push_screen(Pausing(rule), typed)

    def _rests(self, rule: str) -> str:
        """The next key needn't wait for the next look."""
        self._paused.add(rule)
        return f"{rule} is paused for 30m; p lets it go on"

    def _goes_on(self, rule: str) -> str:
        self._paused.discard(rule)
        return f"{rule} goes on"

    def action_retry(self) -> None:
        """Try the chosen rule's failed paths again, or those of a chosen failed job."""
        job = self._chosen("failed") if self._rows("failed").has_focus else None
        rule = self._chosen("rules")
        if job is not None:
            self._act("retry", {"id": int(job)}, _retried)
        elif rule is not None:
            self._act("retry", {"rule": rule}, _retried)

    def action_story(self) -> None:
        """Open the story of the chosen job; of a rule, that of its last one."""
        for name in ("running", "failed"):
            job = self._chosen(name) if self._rows(name).has_focus else None
            if job is not None:
                self._tell(int(job))
                return
        self._last_of(self._chosen("rules"))

    @work(thread=True, group="story")
    def _last_of(self, rule: str | None) -> None:
        """The newest job of a rule."""
        try:
            jobs = self._ask("jobs", {"rule": rule, "limit": 1})["jobs"] if rule is not None else []
        except (RequestError, FilewatchdError) as error:
            self.call_from_thread(self._say, str(error))
            return
        if jobs:
            self.call_from_thread(self._tell, jobs[0]["id"])
        else:
            self.call_from_thread(self._say, "it has had no job yet")


def _since(text: str, now: datetime) -> float:
    return (now - time_in(text)).total_seconds()


def _retried(answer: Mapping[str, Any]) -> str:
    return f"{number(answer['paths'], 'path')} tried again"
