"""Services that are given sets of configuration files: good ones, bad ones, half-saved ones, while people edit."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.servicing import Nginx, Record, answer, control, free_port, process, rule
from tests.e2e.test_editors import VIM_WAYS

_SAVES = 60  # while sets are put back

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the services are started by root")


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    return Nginx(tmp_path / "nginx")


@pytest.fixture
def record(daemon: Daemon) -> Record:
    return Record(daemon)


def start(daemon: Daemon, record: Record, *rules: str) -> None:
    """Start, and wait until the first set was checked and taken."""
    daemon.configure(*rules)
    daemon.start()
    record.becomes("synced", good=1)


def test_nginx_gets_good_sets_alone(daemon: Daemon, record: Record, nginx: Nginx) -> None:
    with nginx.runs():
        start(daemon, record, nginx.rule())
        nginx.write("two")
        record.becomes("synced", good=2)
        assert nginx.says == "200 two"
        nginx.site.write_text("server { listen nonsense; }\n")  # an included file: nginx -t -c COPY would say ok
        record.becomes("held", fate="refused")
        assert nginx.says == "200 two"
        assert "nonsense" in record.version(3)["why"]
        code, said = control(daemon, "status")
        assert "version 3 is refused by its check" in said
        assert control(daemon, "reload", "plan", "service")[0] == 3
        code, said = control(daemon, "reload", "diff", "service")
        assert (code, "+server { listen nonsense; }" in said) == (3, True)
        nginx.write("two")  # the last good bytes again: nothing to apply, and the error is gone
        record.becomes("synced", desired=2)
        assert "Findings" not in control(daemon, "status")[1]
        nginx.write("ill", status=500)  # what only health shows
        record.becomes("held", fate="unhealthy")
        assert nginx.says == "500 ill"
        assert control(daemon, "reload", "rollback", "service", "1")[0] == 0
        record.becomes("synced", applied=1)
        assert nginx.says == "200 one"
        daemon.stop()
        code, said = control(daemon, "reload", "history", "service", "--state-dir", str(daemon.state_dir))
        assert (code, "unhealthy" in said, "refused" in said) == (0, True, True)


def test_a_file_that_a_symlink_leads_to_triggers_too(daemon: Daemon, record: Record, nginx: Nginx) -> None:
    site = nginx.place / "sites-available"
    site.mkdir()
    nginx.site.rename(site / "site")
    nginx.site.symlink_to(site / "site")  # as Debian's sites-enabled, but out of the root
    with nginx.runs():
        start(daemon, record, nginx.rule(on_bad="restore"))
        (site / "site").write_text(nginx.text("two"))
        record.becomes("synced", good=2)
        assert nginx.says == "200 two"
        (site / "site").write_text("nonsense\n")
        record.becomes("held", fate="refused")
        assert (site / "site").read_text() == "nonsense\n"  # not ours to write
        assert "is outside the roots" in control(daemon, "status")[1]
        (site / "site").write_text(nginx.text("three"))
        record.becomes("synced", fate="good")
        assert nginx.says == "200 three"


def test_nginx_is_put_back_and_nobody_loses_an_edit(daemon: Daemon, record: Record, nginx: Nginx) -> None:
    with nginx.runs():
        start(daemon, record, nginx.rule(on_bad="restore"))
        nginx.write("ill", status=500)
        (nginx.etc / "conf.d/new.conf").write_text("# new\n")
        record.becomes("synced", fate="unhealthy")
        assert (nginx.says, nginx.site.read_text()) == ("200 one", nginx.text("one"))
        assert os.listdir(nginx.etc / "conf.d") == ["site.conf"]
        assert control(daemon, "reload", "show", "service", "2")[0] == 0
        nginx.write("ill again", status=500)
        eventually(lambda: nginx.says == "500 ill again", "the bad set is applied")
        nginx.write("theirs")  # somebody mends it, while its health is watched
        record.becomes("synced", fate="good")
        assert (nginx.says, nginx.site.read_text()) == ("200 theirs", nginx.text("theirs"))


def test_edits_at_any_moment_of_a_restore_stay(daemon: Daemon, record: Record, nginx: Nginx) -> None:
    """Somebody saves all the time, in place and by rename; at the end the disk has what they saved last."""
    check = f"! grep -q bad {nginx.etc}/conf.d/*.txt"
    options = nginx.rule(mode="guard", check=["sh", "-c", check], apply=["true"], healthy=[], on_bad="restore")
    file, stop = nginx.etc / "conf.d/a.txt", threading.Event()
    file.write_text("good\n")
    start(daemon, record, options)
    saves: list[int] = []

    def save() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            text = f"{'bad' if number % 3 else 'good'} {number}\n"
            if number % 2:
                (file.parent / "a.new").write_text(text)
                (file.parent / "a.new").rename(file)
            else:
                file.write_text(text)
            saves.append(number)
            stop.wait(0.001 * (number % 90))
        file.write_text("good, the last\n")

    writer = threading.Thread(target=save)
    writer.start()
    try:
        eventually(lambda: len(saves) >= _SAVES, f"{_SAVES} saves")
    finally:
        stop.set()
        writer.join()
    record.becomes("synced", fate="good")
    assert file.read_text() == "good, the last\n"
    assert {name for name in os.listdir(file.parent) if name.startswith(".filewatchd")} == set()


def test_a_checkout_of_forty_files_is_one_reload(daemon: Daemon, record: Record, tmp_path: Path) -> None:
    repository, told = tmp_path / "etc", tmp_path / "told"

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@x", *words], check=True,
                       capture_output=True)  # fmt: skip

    repository.mkdir()
    git("init", "-q", "-b", "one")
    for branch in ("one", "two"):
        if branch == "two":
            git("checkout", "-q", "-b", "two")
        for number in range(40):
            (repository / f"{number}.conf").write_text(f"{branch} {number}\n")
        git("add", ".")
        git("commit", "-q", "-m", branch)
    git("checkout", "-q", "one")
    same = "test $(cut -d' ' -f1 *.conf | sort -u | wc -l) = 1"
    options = {"check": {"command": ["sh", "-c", f"cd {repository} && {same}"]},
               "apply": ["sh", "-c", f"cat {repository}/39.conf >> {told}"], "cooldown": 0}  # fmt: skip
    start(daemon, record, rule(repository, options, exclude=[".git/"], settle="500ms"))
    git("checkout", "-q", "two")
    record.becomes("synced", applied=2)
    git("checkout", "-q", "one")
    record.becomes("synced", applied=1)
    assert told.read_text() == "two 39\none 39\n"
    assert [version["fate"] for version in record()["versions"]] == ["good", "good"]


@pytest.mark.parametrize("way", ["as shipped", "backup by rename"])
def test_several_files_saved_one_after_the_other_in_vim_are_one_reload(
    daemon: Daemon, record: Record, tmp_path: Path, program: Callable[[str], str], way: str
) -> None:
    """Swap files, backups and the file 4913 come and go meanwhile: none of them is a save."""
    etc, told = tmp_path / "etc", tmp_path / "told"
    etc.mkdir()
    for name in "abc":
        (etc / f"{name}.conf").write_text("one\n")
    same = "test $(cat *.conf | sort -u | wc -l) = 1"
    options = {"check": {"command": ["sh", "-c", f"cd {etc} && {same}"]},
               "apply": ["sh", "-c", f"cat {etc}/c.conf >> {told}"], "cooldown": 0}  # fmt: skip
    start(daemon, record, rule(etc, options, settle="500ms"))
    vim = [program("vim"), "-u", "NONE", "-i", "NONE", "--cmd", VIM_WAYS[way], "a.conf", "b.conf", "c.conf"]
    with pexpect.spawn(vim[0], vim[1:], cwd=str(etc), encoding="utf-8", timeout=20) as terminal:
        terminal.expect_exact("one")
        terminal.send(":%s/one/two/\r:wn\r:%s/one/two/\r:wn\r:%s/one/two/\r:w\r")
        record.becomes("synced", applied=2)
        assert list(etc.glob(".*.sw?")) != []  # vim still has them open
        terminal.send(":q\r")
        terminal.expect(pexpect.EOF)
    record.becomes("synced", applied=2)
    assert told.read_text() == "two\n"
    assert [version["fate"] for version in record()["versions"]] == ["good", "good"]


def test_a_kubernetes_volume_that_flips(daemon: Daemon, record: Record, tmp_path: Path) -> None:
    volume, told = tmp_path / "etc", tmp_path / "told"

    def publish(name: str) -> None:
        (volume / f"..{name}").mkdir(parents=True)
        (volume / f"..{name}/app.conf").write_text(f"{name}\n")
        (volume / "..data_tmp").symlink_to(f"..{name}")
        before = os.readlink(volume / "..data") if (volume / "..data").is_symlink() else ""
        (volume / "..data_tmp").rename(volume / "..data")
        if before:
            shutil.rmtree(volume / before)

    publish("first")
    (volume / "app.conf").symlink_to("..data/app.conf")
    options = {"check": ["grep", "-q", ".", f"{volume}/app.conf"], "cooldown": 0,
               "apply": ["sh", "-c", f"cat {volume}/app.conf >> {told}"]}  # fmt: skip
    start(daemon, record, rule(volume, options))
    publish("second")
    record.becomes("synced", applied=2)
    publish("third")
    record.becomes("synced", applied=3)
    assert told.read_text() == "second\nthird\n"


def test_a_service_that_is_down_and_one_that_hangs(daemon: Daemon, record: Record, nginx: Nginx) -> None:
    hang = nginx.place / "hang"
    apply = f"test ! -e {hang} || sleep 100; kill -HUP $(cat {nginx.pidfile})"
    options = nginx.rule(apply={"command": ["sh", "-c", apply], "timeout": "1s"}, on_bad="restore")
    text = options.replace("    actions:", "    retry: {attempts: 2, backoff: 100ms}\n    actions:")
    with nginx.runs():
        start(daemon, record, text)
    nginx.write("two")
    found = record.becomes("held", fate="failed")
    assert (found["sure"], nginx.site.read_text()) == (False, nginx.text("two"))  # the set isn't to blame
    with nginx.runs():
        eventually(lambda: nginx.says == "200 two", "nginx is up")
        assert control(daemon, "reload", "retry", "service")[0] == 0
        record.becomes("synced", good=2)
        hang.touch()
        nginx.write("three")
        record.becomes("held", fate="failed")
        assert "timed out after 1 s" in record.version(3)["why"]
        hang.unlink()
        nginx.write("four")
        record.becomes("synced", fate="good")
        assert nginx.says == "200 four"


def test_haproxy_reads_a_directory(daemon: Daemon, record: Record, tmp_path: Path) -> None:
    etc, port = tmp_path / "haproxy", free_port()
    etc.mkdir()
    pidfile = tmp_path / "haproxy.pid"
    (etc / "0.cfg").write_text(
        "defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n"
    )

    def frontend(text: str) -> str:
        reply = f'http-request return status 200 content-type text/plain string "{text}"'
        return f"frontend web\n  bind 127.0.0.1:{port}\n  {reply}\n"

    (etc / "1.cfg").write_text(frontend("one"))
    options = {
        "mode": "guard", "check": ["haproxy", "-c", "-f", str(etc)],
        "apply": {"signal": "USR2", "pidfile": str(pidfile)}, "cooldown": 0,
        "healthy": {"http": f"http://127.0.0.1:{port}/"}, "on_bad": "restore",
    }  # fmt: skip
    with process("haproxy", "-W", "-f", str(etc), "-p", str(pidfile), stderr=subprocess.DEVNULL):
        eventually(lambda: answer(port) == "200 one", "haproxy answers")
        start(daemon, record, rule(etc, options))
        (etc / "1.cfg").write_text(frontend("two"))
        record.becomes("synced", good=2)
        assert answer(port) == "200 two"
        (etc / "1.cfg").write_text(frontend("three") + "  no-such-word\n")
        record.becomes("synced", fate="refused", desired=2)
        assert ("no-such-word" in record.version(3)["why"], answer(port)) == (True, "200 two")
        assert (etc / "1.cfg").read_text() == frontend("two")


def test_rsyslog_is_started_anew(daemon: Daemon, record: Record, tmp_path: Path) -> None:
    etc, port = tmp_path / "rsyslog", free_port()
    (etc / "d").mkdir(parents=True)
    out, pidfile = tmp_path / "out", tmp_path / "rsyslogd.pid"
    (etc / "main.conf").write_text(
        f'module(load="imtcp")\ninput(type="imtcp" port="{port}" address="127.0.0.1")\ninclude(file="{etc}/d/*.conf")\n'
    )

    def write(name: str) -> None:
        (etc / "d/out.conf").write_text(f'action(type="omfile" file="{out}-{name}")\n')

    def send(text: str) -> None:
        import socket

        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(f"<13>test: {text}\n".encode())

    write("one")
    run = f"rsyslogd -f {etc}/main.conf -i {pidfile}"
    end = f"test ! -e {pidfile} || {{ kill $(cat {pidfile}) && while test -e {pidfile}; do sleep 0.05; done; }}"
    subprocess.run(["sh", "-c", run], check=True)
    try:
        # rsyslogd forks away; what a command leaves behind is ended, so a service manager's place is taken here.
        options = {
            "mode": "guard", "check": ["rsyslogd", "-N1", "-f", f"{etc}/main.conf"],
            "apply": ["sh", "-c", f"touch {tmp_path}/restart && while test -e {tmp_path}/restart; do sleep 0.05; done"],
            "healthy": {"tcp": f"127.0.0.1:{port}"}, "cooldown": 0,
        }  # fmt: skip
        manager = (
            f"while :; do if test -e {tmp_path}/restart; then {end}; {run}; rm {tmp_path}/restart; fi; sleep 0.05; done"
        )
        with process("sh", "-c", manager):
            start(daemon, record, rule(etc, options))
            write("two")
            record.becomes("synced", good=2)
            send("hello")
            eventually(lambda: Path(f"{out}-two").exists(), "rsyslog writes to where it was told")
            (etc / "d/out.conf").write_text('action(type="omfile" file="/x"\n')
            record.becomes("held", fate="refused")
            assert "error during parsing" in record.version(3)["why"]
    finally:
        subprocess.run(["sh", "-c", end], check=True)


def test_a_users_files_are_read_and_put_back_as_that_user(daemon: Daemon, record: Record, public: Path) -> None:
    etc, secret = public / "etc", daemon.directory / "secret"
    (etc / "conf.d").mkdir(parents=True)
    secret.write_text("root's alone\n")
    secret.chmod(0o600)
    file = etc / "conf.d/app.conf"
    file.write_text("good\n")
    for path in (etc, etc / "conf.d", file):
        shutil.chown(path, "nobody", "nogroup")
    options = {"mode": "guard", "check": ["sh", "-c", f"id -un | grep -qx nobody && ! grep -rq bad {etc}"],
               "on_bad": "restore", "cooldown": 0}  # fmt: skip
    start(daemon, record, rule(etc, options, user="nobody"))
    file.write_text("bad\n")
    record.becomes("synced", fate="refused", desired=1)
    assert (file.read_text(), file.owner()) == ("good\n", "nobody")
    (etc / "conf.d/link.conf").symlink_to(secret)  # nobody may not read what that leads to, and nor is it read
    eventually(lambda: len(record()["versions"]) > 2, "the link is looked at")
    kept = [path.read_text() for path in (daemon.state_dir / "versions/service/blobs").glob("??/*")]
    assert "root's alone\n" not in kept


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users get to."""
    path = Path(tempfile.mkdtemp(prefix="filewatchd-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_postgresql_keeps_what_it_has(daemon: Daemon, record: Record, public: Path) -> None:
    (postgres,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    data, etc, port = public / "data", public / "etc", free_port()
    data.mkdir()
    (etc / "conf.d").mkdir(parents=True)
    shutil.chown(data, "postgres")
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run([*as_postgres, f"{postgres}/initdb", "-D", str(data), "--no-sync", "-A", "trust"], check=True,
                   capture_output=True)  # fmt: skip
    hba = f"data_directory = '{data}'\nhba_file = '{data}/pg_hba.conf'\nident_file = '{data}/pg_ident.conf'\n"
    (etc / "postgresql.conf").write_text(
        f"{hba}port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"
        f"include_dir = '{etc}/conf.d'\n"
    )
    setting = etc / "conf.d/work.conf"
    setting.write_text("work_mem = '4MB'\n")

    def asked() -> str:
        query = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-Atc", "SHOW work_mem", "postgres"]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()

    main = f"config_file={etc}/postgresql.conf"
    options = {
        "mode": "guard",
        "check": {"command": [f"{postgres}/postgres", "-C", "work_mem", "-c", main], "user": "postgres"},
        "apply": {"signal": "HUP", "pidfile": f"{data}/postmaster.pid", "program": "postgres"}, "cooldown": 0,
        "healthy": {"tcp": f"127.0.0.1:{port}"}, "on_bad": "restore",
    }  # fmt: skip
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with process(*as_postgres, f"{postgres}/postgres", "-c", main, **quiet):
        eventually(lambda: asked() == "4MB", "PostgreSQL is up")
        start(daemon, record, rule(etc, options))
        setting.write_text("work_mem = '8MB'\n")
        record.becomes("synced", good=2)
        assert asked() == "8MB"
        setting.write_text("work_mem = '8 elephants'\n")
        record.becomes("synced", fate="refused", desired=2)
        assert "elephants" in record.version(3)["why"]
        assert (asked(), setting.read_text()) == ("8MB", "work_mem = '8MB'\n")


def test_a_set_that_has_to_wait_is_applied_after_a_kill_and_held_ones_are_left_alone(
    daemon: Daemon, record: Record, tmp_path: Path
) -> None:
    """Cooldown and splay; then a digest that used up its attempts, until somebody says retry."""
    etc, told, deaf = tmp_path / "etc", tmp_path / "told", tmp_path / "deaf"
    etc.mkdir()
    (etc / "app.conf").write_text("one")
    apply = f"echo try >> {told}; test ! -e {deaf} && date +%s.%N >> {told}"
    options = {"check": ["true"], "apply": ["sh", "-c", apply], "cooldown": "3s", "splay": "10ms"}
    start(daemon, record, rule(etc, options, retry={"attempts": 2, "backoff": "50ms"}))

    def save(text: str) -> None:
        (etc / "app.conf").write_text(text)

    def times() -> list[float]:
        return [float(line) for line in told.read_text().split() if line != "try"]

    save("two")
    record.becomes("synced", good=2)
    save("three")
    record.becomes("waiting", desired=3)
    daemon.kill()
    daemon.start()
    record.becomes("synced", good=3)
    first, second = times()
    assert second - first >= 3
    deaf.touch()
    save("four")
    record.becomes("held", fate="failed")
    tried = told.read_text().count("try")
    assert tried == 4  # twice, as the rule says
    save("four")  # an identical rewrite
    assert control(daemon, "flush")[0] == 0
    daemon.kill()
    daemon.start()
    assert control(daemon, "flush")[0] == 0
    assert (record()["state"], told.read_text().count("try")) == ("held", tried)
    deaf.unlink()
    assert control(daemon, "reload", "retry", "service")[0] == 0
    record.becomes("synced", good=4)
