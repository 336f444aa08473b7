"""Metrics and health: over the socket, on a port of the loopback, in a file for node_exporter."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from filewatchd.cli.daemon import main
from filewatchd.control import client
from filewatchd.control.api import RequestError, socket_in
from filewatchd.service.metrics import METRICS
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, gate, lines, shell
from tests.e2e.test_reload import reload


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each sample's value, by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(text: str, name: str, **labels: str) -> float:
    return parsed(text)[name, frozenset(labels.items())]


def metrics(daemon: Daemon) -> str:
    return client.text(socket_in(str(daemon.directory / "run")), "metrics")


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def fetch(port: int, target: str, method: str = "GET") -> tuple[int, Mapping[str, str], str]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read().decode()


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_metrics_tell_what_happened(daemon: Daemon) -> None:
    failing = shell('[ "$1" != b ]', "{name}")
    daemon.configure(daemon.rule(), daemon.rule("failing", actions=failing, retry={"attempts": 1}))
    daemon.start()
    for name in ("a", "b", "c"):
        (daemon.root / name).write_text("x")
    assert ask(daemon, "flush")["done"]
    text = metrics(daemon)
    assert value(text, "filewatchd_up") == 1
    assert value(text, "filewatchd_changes_total", rule="recorded") == 3
    assert value(text, "filewatchd_outcomes_total", rule="failing", outcome="failed") == 1
    assert value(text, "filewatchd_outcomes_total", rule="failing", outcome="ok") == 2
    assert value(text, "filewatchd_failed_paths", rule="failing") == 1
    assert value(text, "filewatchd_roots", backend="inotify", state="live") == 1
    assert value(text, "filewatchd_promise_kept") == 1
    assert value(text, "filewatchd_watches") > 0
    for name in ("attempt", "latency"):
        assert value(text, f"filewatchd_{name}_seconds_count", rule="recorded") > 0
        ended = value(text, f"filewatchd_{name}_seconds_bucket", rule="recorded", le="+Inf")
        assert ended == value(text, f"filewatchd_{name}_seconds_count", rule="recorded")
    settle = 0.05  # seconds, before which no job is made
    count = value(text, "filewatchd_latency_seconds_count", rule="recorded")
    assert value(text, "filewatchd_latency_seconds_sum", rule="recorded") >= settle * count
    families = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert families == {metric.name.removesuffix("_total"): metric.kind for metric in METRICS}


def test_a_retry_counts_from_the_first_event_on(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = 'echo begin >> "$1"; [ $(wc -l < "$1") = 2 ]'
    retries = {"attempts": 2, "backoff": "300ms", "max_backoff": "300ms"}
    daemon.configure(daemon.rule(actions=shell(script, str(out)), retry=retries))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: not ask(daemon, "status")["rules"]["recorded"]["open"] and lines(out), "it is retried", 20)
    text = metrics(daemon)
    assert value(text, "filewatchd_attempt_seconds_count", rule="recorded") == 2
    assert value(text, "filewatchd_latency_seconds_count", rule="recorded") == 1
    assert value(text, "filewatchd_latency_seconds_sum", rule="recorded") >= 0.2  # its back-off has some jitter


# ---- the port


def test_the_port_serves_two_pages_and_nothing_else(daemon: Daemon, port: int) -> None:
    configure(daemon, daemon.rule(), control={"listen": f"127.0.0.1:{port}"})
    daemon.start()
    (daemon.root / "secret-name").write_text("x")
    assert ask(daemon, "flush")["done"]
    status, headers, text = fetch(port, "/metrics?format=any")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert value(text, "filewatchd_changes_total", rule="recorded") == 1
    status, _, health = fetch(port, "/healthz")
    assert (status, json.loads(health)["healthy"]) == (200, True)
    for page in (text, health):
        assert str(daemon.directory) not in page
        assert "secret-name" not in page
    assert fetch(port, "/metrics", "HEAD")[2] == ""
    assert fetch(port, "/v1/status")[0] == 404
    assert fetch(port, "/")[0] == 404
    status, headers, _ = fetch(port, "/metrics", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_reload_opens_moves_and_closes_the_port(daemon: Daemon, port: int) -> None:
    configure(daemon, daemon.rule())
    daemon.start()
    assert not listening(port)
    configure(daemon, daemon.rule(), control={"listen": f"127.0.0.1:{port}"})
    reload(daemon, 2)
    assert listening(port)
    configure(daemon, daemon.rule(), control={"listen": f"localhost:{port}"})
    reload(daemon, 3)
    assert fetch(port, "/healthz")[0] == 200
    configure(daemon, daemon.rule(), control={"listen": f"[::1]:{port}"})
    reload(daemon, 4)
    assert not listening(port)
    configure(daemon, daemon.rule())
    reload(daemon, 5)
    with socket.socket(socket.AF_INET6) as sock:
        assert sock.connect_ex(("::1", port)) != 0


def test_a_port_in_use_is_an_error_and_a_reload_leaves_all_as_it_was(daemon: Daemon, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        configure(daemon, daemon.rule(), control={"listen": f"127.0.0.1:{port}"})
        assert daemon.launch().wait(20) == 1
        wrong = f"nothing can listen on 127.0.0.1:{port}: Address already in use; choose another port"
        daemon.says(wrong)
        configure(daemon, daemon.rule())
        daemon.start()
        configure(daemon, daemon.rule(), daemon.rule("more"), control={"listen": f"127.0.0.1:{port}"})
        daemon.signal(signal.SIGHUP)
        error = eventually(lambda: ask(daemon, "status")["config_error"], "it is refused", 20)
        assert wrong in error
        status = ask(daemon, "status")
        assert (status["generation"], list(status["rules"])) == (1, ["recorded"])
    daemon.signal(signal.SIGHUP)
    eventually(lambda: ask(daemon, "status")["generation"] == 2, "now it can", 20)
    assert listening(port)


# ---- the file


def test_the_textfile_is_there_and_tells_of_the_end(daemon: Daemon) -> None:
    path = daemon.directory / "metrics" / "filewatchd.prom"
    path.parent.mkdir()
    control = {"textfile": str(path), "textfile_every": "50ms"}
    configure(daemon, daemon.rule(), control=control)
    daemon.start()
    eventually(path.exists, "the file is there", 20)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    (daemon.root / "a").write_text("x")
    changes = "filewatchd_changes_total"
    eventually(lambda: value(path.read_text(), changes, rule="recorded") == 1, "it tells of the change", 20)
    daemon.stop()
    assert parsed(path.read_text()) == {("filewatchd_up", frozenset()): 0}
    assert os.listdir(path.parent) == ["filewatchd.prom"]


def test_a_reload_moves_the_textfile(daemon: Daemon) -> None:
    place = daemon.directory / "metrics"
    place.mkdir()
    old, new = place / "old.prom", place / "new.prom"
    configure(daemon, daemon.rule(), control={"textfile": str(old), "textfile_every": "1h"})
    daemon.start()
    eventually(old.exists, "the file is there", 20)
    configure(daemon, daemon.rule(), control={"textfile": str(new), "textfile_every": "1h"})
    reload(daemon, 2)
    eventually(lambda: os.listdir(place) == ["new.prom"], "it has moved", 20)
    configure(daemon, daemon.rule())
    reload(daemon, 3)
    eventually(lambda: os.listdir(place) == [], "it is gone", 20)


def test_a_textfile_that_cant_be_written_is_told_of_once(daemon: Daemon) -> None:
    path = daemon.directory / "metrics" / "filewatchd.prom"
    configure(daemon, daemon.rule(), control={"textfile": str(path), "textfile_every": "10ms"})
    daemon.start()
    daemon.says(f"control.textfile: {path} could not be replaced")
    path.parent.mkdir()
    eventually(path.exists, "it is written as soon as it can be", 20)
    daemon.stop()
    assert daemon.log().count("control.textfile: ") == 1


# ---- mistakes


@pytest.mark.parametrize(
    ("control", "told"),
    [
        ({"textfile": "/srv/metrics.txt"}, "4:23: node_exporter reads only files whose names end in .prom"),
        ({"listen": "0.0.0.0:9817"}, "4:21: others could reach 0.0.0.0"),
        ({"listen": "127.0.0.1:0"}, "4:21: '127.0.0.1:0' is no address and port"),
    ],
)
def test_mistakes_are_told_at_their_place(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], control: Mapping[str, Any], told: str
) -> None:
    configure(daemon, daemon.rule(), control=control)
    assert main(["check", "--config", str(daemon.config)]) == 78
    assert told in capsys.readouterr().err


def test_a_rule_that_would_see_the_textfile_is_a_mistake(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    control = {"textfile": str(daemon.root / "filewatchd.prom")}
    configure(daemon, daemon.rule(), control=control)
    assert main(["check", "--config", str(daemon.config)]) == 78
    said = capsys.readouterr().err
    assert f"the daemon's own files: {daemon.root}/filewatchd.prom (control.textfile)" in said
    assert 'add "/*filewatchd.prom*" to exclude' in said
    configure(daemon, daemon.rule(exclude=["/*filewatchd.prom*"]), control=control)
    assert main(["check", "--config", str(daemon.config)]) == 0


def test_without_the_extra_it_is_one_clear_error(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "prometheus_client" else found(name))
    configure(daemon, daemon.rule(), control={"listen": "127.0.0.1:9817"})
    assert main(["check", "--config", str(daemon.config)]) == 78
    lack = "the extra metrics is not installed (prometheus_client); pip install 'filewatchd[metrics]'"
    assert f"4:21: control.listen can't work: {lack}" in capsys.readouterr().err
    configure(daemon, daemon.rule())
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_WITHOUT)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    daemon.start()
    with pytest.raises(RequestError, match="the extra metrics is not installed") as refused:
        metrics(daemon)
    assert refused.value.status == 501
    assert ask(daemon, "health")["healthy"] is True


_WITHOUT = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "prometheus_client" else found(name, *more)
"""


# ---- health


def test_a_daemon_that_lost_its_state_isnt_well_until_somebody_knows(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    assert ask(daemon, "health") == {"healthy": True, "state": "running", "why": []}
    daemon.stop()
    (daemon.state_dir / "journal.db").write_bytes(b"garbage" * 1000)
    daemon.start()
    with pytest.raises(RequestError) as unwell:
        ask(daemon, "health")
    assert unwell.value.status == 503
    assert unwell.value.more["why"] == ["the job journal was lost; `resume` acknowledges it"]
    assert value(metrics(daemon), "filewatchd_promise_doubts", about="state") == 1
    ask(daemon, "resume")
    assert ask(daemon, "health")["healthy"] is True


def test_a_job_that_runs_is_told_of(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    daemon.configure(daemon.rule(actions=shell('echo >> "$1"; read line < "$2"', str(out), str(door))))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out), "the job runs", 20)
    text = metrics(daemon)
    assert value(text, "filewatchd_running_jobs", rule="recorded") == 1
    assert value(text, "filewatchd_rule_state", rule="recorded", state="running") == 1
    assert value(text, "filewatchd_rule_state", rule="recorded", state="idle") == 0
    door.write_text("go\n")


def test_a_daemon_that_drains_says_so_on_its_port(daemon: Daemon, port: int) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    rule = daemon.rule(actions=shell('echo >> "$1"; read line < "$2"', str(out), str(door)))
    configure(daemon, rule, control={"listen": f"127.0.0.1:{port}"})
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out), "the job runs", 20)
    daemon.signal(signal.SIGTERM)
    eventually(lambda: fetch(port, "/healthz")[0] == 503, "it isn't well any more", 20)
    document = json.loads(fetch(port, "/healthz")[2])
    assert (document["healthy"], document["state"], document["why"]) == (False, "draining", ["it ends"])
    assert value(fetch(port, "/metrics")[2], "filewatchd_state", state="draining") == 1
    door.write_text("go\n")
    assert daemon.wait() == 0
    assert not listening(port)
