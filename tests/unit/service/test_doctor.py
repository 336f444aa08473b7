"""Doctor: facts in, findings out; and the facts, from real directories."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from filewatchd.actions import registry
from filewatchd.config.configuration import Configuration
from filewatchd.config.load import load
from filewatchd.service import checks, doctor, limits, survey
from filewatchd.service.findings import Facts, Finding, Report, Severity, StateFacts
from filewatchd.service.limits import INSTANCES, QUEUE, WATCHES, Limit, Usage
from filewatchd.service.survey import Survey
from filewatchd.service.trees import Tree
from filewatchd.watch.backends.choose import Choice
from filewatchd.watch.mounts import MountTable

PACKAGES = registry.packages()


class Desk:
    """A configuration with rules that log, and what doctor says of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.root.mkdir()
        self.file = directory / "filewatchd.yaml"

    def write(self, *rules: str) -> None:
        head = f"version: 1\ndaemon: {{state_dir: {self.directory}/state, runtime_dir: {self.directory}/run}}\n"
        self.file.write_text(head + "rules:\n" + "".join(f"  - {{{rule}}}\n" for rule in rules))

    def load(self) -> Configuration:
        return load(self.file, registry=PACKAGES, environ={}, flags={})

    def report(self, *rules: str, bound: int = survey.BOUND, quick: bool = False) -> Report:
        self.write(*rules)
        return doctor.examine(self.load, PACKAGES, bound=bound, quick=quick, patience=30)

    def rule(self, more: str = "", *, name: str = "r", roots: str = "", actions: str = "[log: {}]") -> str:
        return f"name: {name}, roots: [{roots or self.root}], actions: {actions}{', ' if more else ''}{more}"

    def facts(self) -> Facts:
        """Those of a healthy system."""
        self.write(self.rule())
        found = doctor.gather(self.load(), PACKAGES, Survey((), (), {}), MountTable(""))
        state = StateFacts("/state", "ext4", 10**10, 10**11, os.geteuid())
        return found._replace(limits=(), state=state, descriptors=4096)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A configuration to examine, where no other program takes of the limits."""
    monkeypatch.setattr(doctor, "usage", lambda _: Usage(0, 0))
    return Desk(tmp_path)


def of(report: Report, code: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.code == code]


def told(facts: Facts) -> list[tuple[str, str]]:
    return [(finding.severity.value, finding.code) for finding in doctor.judge(facts).findings]


# ---- limits


def test_a_healthy_system(desk: Desk) -> None:
    assert told(desk.facts()) == []


@pytest.mark.parametrize(
    ("needed", "used", "severity"), [(79, 0, None), (81, 0, "warning"), (101, 0, "error"), (60, 50, "error")]
)
def test_watches_near_and_over_the_limit(desk: Desk, needed: int, used: int, severity: str | None) -> None:
    limit = Limit(WATCHES, "fs.inotify.max_user_watches", 100, needed, used)
    facts = desk.facts()._replace(limits=(limit,))
    assert told(facts) == ([(severity, "watches-limit")] if severity else [])
    for finding in doctor.judge(facts).findings:
        assert "`sysctl -w fs.inotify.max_user_watches=524288`" in finding.remedy
        assert "/etc/sysctl.d/" in finding.remedy


def test_the_remedy_is_more_than_what_is_needed(desk: Desk) -> None:
    limit = Limit(WATCHES, "user.max_inotify_watches", 0, 1_000_000, 0)
    (finding,) = doctor.judge(desk.facts()._replace(limits=(limit,))).findings
    assert finding.severity is Severity.ERROR
    assert "`sysctl -w user.max_inotify_watches=2097152`" in finding.remedy


def test_instances_and_queue(desk: Desk) -> None:
    few = Limit(INSTANCES, "fs.inotify.max_user_instances", 128, 2, 127)
    short = Limit(QUEUE, "fs.inotify.max_queued_events", 1024)
    assert told(desk.facts()._replace(limits=(few, short))) == [("error", "instances-limit"), ("note", "queue-short")]


def test_this_systems_limits(tmp_path: Path) -> None:
    found = limits.limits(10, 1, limits.usage())
    assert [limit.kind for limit in found] == [WATCHES, INSTANCES, QUEUE]
    assert all(limit.limit > 0 for limit in found)
    assert found[1].needed == 2


# ---- where state is kept


def test_state_that_doesnt_last(desk: Desk) -> None:
    facts = desk.facts()
    assert facts.state is not None
    for kind, code in (("tmpfs", "state-forgetful"), ("nfs4", "state-network"), ("fuse.sshfs", "state-network")):
        assert told(facts._replace(state=facts.state._replace(filesystem=kind))) == [("warning", code)]
    assert told(facts._replace(state=facts.state._replace(free=50_000_000))) == [("warning", "state-space")]
    assert told(facts._replace(state=facts.state._replace(free=4 * 10**9))) == [("warning", "state-space")]
    assert told(facts._replace(state=facts.state._replace(owner=os.geteuid() + 1))) == [("note", "other-user")]
    assert told(facts._replace(state=None)) == [("error", "state-stalled")]
    assert told(facts._replace(descriptors=256)) == [("warning", "descriptors-limit")]


# ---- roots


def test_directories_count_once_however_many_rules_want_them(desk: Desk) -> None:
    (desk.root / "a" / "b").mkdir(parents=True)
    (desk.root / "out" / "deep").mkdir(parents=True)
    (desk.root / "a" / "one").touch()
    (desk.root / "out" / "two").touch()
    (desk.root / "link").symlink_to("/usr")
    whole = desk.report(desk.rule('exclude: ["out/"]'), desk.rule(name="inner", roots=f"{desk.root}/a"))
    above = len(desk.root.parents)
    assert [(root.tree.directories, root.tree.files) for root in whole.roots if root.tree] == [(3, 1), (2, 1)]
    assert whole.limits[0].needed == above + 3
    both = desk.report(desk.rule('exclude: ["out/"]'), desk.rule(name="all"))
    assert both.limits[0].needed == above + 5
    flat = desk.report(desk.rule("recursive: false"))
    assert flat.limits[0].needed == above + 1


def test_quick_walks_nothing(desk: Desk) -> None:
    report = desk.report(desk.rule('include: ["*.none"]'), quick=True)
    assert report.roots[0].tree is None
    assert report.limits[0].needed is None
    assert not of(report, "include-idle")


def test_counting_ends_somewhere(desk: Desk) -> None:
    for number in range(5):
        (desk.root / str(number)).mkdir()
    report = desk.report(desk.rule('include: ["*.none"]'), bound=3)
    assert of(report, "count-ended")
    assert not of(report, "include-idle")


def test_missing_roots_and_globs_that_name_nothing(desk: Desk) -> None:
    report = desk.report(desk.rule(roots=f'{desk.root}/a/b, "{desk.root}/*.d"'))
    missing, glob = of(report, "root-missing")
    assert missing.message == f"nothing is there yet; the daemon waits for a in {desk.root}"
    assert (missing.rule, missing.path, glob.path) == ("r", f"{desk.root}/a/b", f"{desk.root}/*.d")
    assert report.healthy


def test_a_root_that_can_never_be(desk: Desk) -> None:
    (desk.root / "file").touch()
    report = desk.report(desk.rule(roots=f"{desk.root}/file/below"))
    assert of(report, "root-unusable")[0].message == f"it can't be watched: {desk.root}/file is not a directory"
    assert not report.healthy


def test_a_root_that_is_a_file(desk: Desk) -> None:
    (desk.root / "file").touch()
    report = desk.report(desk.rule('include: ["*.none"]', roots=f"{desk.root}/file"))
    assert report.roots[0].tree is None
    assert not report.findings


def test_filesystems_that_tell_of_nothing(desk: Desk) -> None:
    report = desk.report(
        desk.rule(roots="/proc/sys/fs/inotify"), desk.rule("backend: inotify", name="s", roots="/proc/sys/fs/inotify")
    )
    assert of(report, "root-polled")[0].message == "it is polled: proc tells of no changes"
    assert of(report, "backend-poor")[0].rule == "s"
    assert [root.choice.name for root in report.roots] == ["poll", "inotify"]


def test_a_backend_whose_extra_is_missing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "choose", lambda *_: Choice("pyinotify", "a test"))
    monkeypatch.setattr(checks, "backend_lacks", lambda name: (f"{name} is missing", "install it"))
    (finding,) = of(desk.report(desk.rule()), "backend-missing")
    assert (finding.severity, finding.message, finding.remedy) == (Severity.ERROR, "pyinotify is missing", "install it")


def test_directories_that_cant_be_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "open"):
        (desk.root / name).mkdir()
    visit = Tree._visit

    def refuse(tree: Tree, below: str, scopes: list[object]) -> object:
        if below in ("a", "b"):
            raise PermissionError(13, "Permission denied")
        return visit(tree, below, scopes)  # type: ignore[arg-type]

    monkeypatch.setattr(Tree, "_visit", refuse)
    (finding,) = of(desk.report(desk.rule('include: ["*.none"]')), "directories-unreadable")
    assert finding.message.startswith("2 of its directories can't be looked into: Permission denied (")


# ---- patterns and rules


def test_patterns_that_match_nothing(desk: Desk) -> None:
    (desk.root / "out").mkdir()
    for name in ("a.CSV", "b.CSV", "c.txt", "out/d.csv"):
        (desk.root / name).touch()
    report = desk.report(desk.rule(f'include: ["*.csv", "*.txt", {desk.root}/c.txt], exclude: [out/, "*.part"]'))
    first, second = of(report, "include-idle")
    assert first.message == (
        "the include pattern *.csv matches no file that is there; the files there end in .CSV (2), .txt (1)"
    )
    assert first.severity is Severity.WARNING
    assert second.remedy == "patterns are relative to the root: write /c.txt"
    assert [finding.message for finding in of(report, "exclude-idle")] == [
        "the exclude pattern *.part matches nothing that is there"
    ]


def test_a_pattern_may_match_in_any_root(desk: Desk) -> None:
    for name in ("x", "y"):
        (desk.root / name).mkdir()
    (desk.root / "y" / "a.csv").touch()
    rule = desk.rule('include: ["*.csv"]', roots=f'"{desk.root}/?"')
    assert not of(desk.report(rule), "include-idle")


def test_a_root_that_isnt_there_yet_hides_no_pattern(desk: Desk) -> None:
    (desk.root / "a.CSV").touch()
    report = desk.report(desk.rule('include: ["*.csv"]', roots=f"{desk.root}, {desk.root}/nope"))
    assert of(report, "include-idle")


def test_an_empty_directory_is_no_fault(desk: Desk) -> None:
    (finding,) = of(desk.report(desk.rule('include: ["*.csv"]')), "include-idle")
    assert finding.severity is Severity.NOTE


def test_output_into_where_a_symlink_leads(desk: Desk) -> None:
    (desk.directory / "link").symlink_to(desk.root)
    actions = f'[exec: {{command: [cp, "{{path}}", "{desk.root}/{{name}}.bak"]}}]'
    (finding,) = of(desk.report(desk.rule(roots=f"{desk.directory}/link", actions=actions)), "action-unfit")
    assert "which this rule would take up again" in finding.message
    assert (finding.rule, finding.path) == ("r", str(desk.root))


def test_what_check_warns_of_and_rules_that_rest(desk: Desk) -> None:
    desk.write(desk.rule("enabled: false"))
    desk.file.write_text(desk.file.read_text() + "rule_files: [none/*.yaml]\n")
    report = doctor.examine(desk.load, PACKAGES)
    assert [finding.code for finding in report.findings] == ["configuration", "rule-disabled"]
    assert report.findings[0].path.endswith(":5:14")
    assert report.roots == ()


@pytest.mark.parametrize(("keep", "found"), [("", ["archives-endless"]), (", keep: {count: 9}", [])])
def test_archives_that_nobody_deletes(desk: Desk, keep: str, found: list[str]) -> None:
    report = desk.report(desk.rule(actions=f"[rotate: {{when: {{size: 1MiB}}{keep}}}]"))
    assert [each.code for each in report.findings if each.code.startswith("archives")] == found


# ---- filesystems that don't answer


def test_a_tree_that_stops_answering(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    door = threading.Event()
    monkeypatch.setattr(Tree, "walk", lambda *_: door.wait())
    desk.write(desk.rule())
    report = doctor.examine(desk.load, PACKAGES, patience=0.1)
    door.set()
    assert [finding.code for finding in report.findings] == ["root-stalled"]


def test_a_configuration_that_cant_be_loaded_names_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    door = threading.Event()
    monkeypatch.setattr(doctor, "unanswering", lambda *_: iter(["/mnt/gone"]))

    def load_for_ever() -> Configuration:
        door.wait()
        raise AssertionError

    report = doctor.examine(load_for_ever, PACKAGES, patience=0.1)
    door.set()
    assert [(finding.code, finding.path) for finding in report.findings] == [("root-stalled", "/mnt/gone")]
