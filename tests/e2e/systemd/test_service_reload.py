"""Reloads from filewatchd's own unit: its sandbox may not mount, so the checks run as units of systemd's.

nginx, haproxy, rsyslog and PostgreSQL as Debian's units run them: a good change, an error in an included file, one that
only health shows, and a service that is down.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.running import eventually
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.service import Service

RULES = """
  - name: nginx
    roots: [/etc/nginx]
    initial: ignore
    actions:
      - reload:
          mode: guard
          check: [nginx, -t]
          apply: {unit: nginx.service, do: reload}
          healthy:
            - {http: "http://127.0.0.1/", status: 200, within: 3s}
            - {unit: nginx.service, state: active}
          on_bad: restore
          cooldown: 0s
  - name: rsyslog
    roots: [/etc/rsyslog.conf, /etc/rsyslog.d]
    initial: ignore
    actions:
      - reload:
          mode: guard
          check: [rsyslogd, -N1]
          apply: {unit: rsyslog.service, do: restart}
          healthy: {unit: rsyslog.service, state: active}
          cooldown: 0s
  - name: haproxy
    roots: [/etc/haproxy]
    initial: ignore
    actions:
      - reload:
          mode: guard
          check: [haproxy, -c, -f, /etc/haproxy/haproxy.cfg, -f, /etc/haproxy/conf.d]
          apply: {unit: haproxy.service, do: reload}
          healthy:
            - {http: "http://127.0.0.1:8080/", status: 200, within: 3s}
            - {unit: haproxy.service, state: active}
          on_bad: restore
          cooldown: 0s
    retry: {attempts: 2, backoff: 100ms}
  - name: postgresql
    roots: [/etc/postgresql/15/main]
    user: postgres
    initial: ignore
    actions:
      - reload:
          mode: guard
          check:
            command: [/usr/lib/postgresql/15/bin/postgres, -C, work_mem,
                      -c, "config_file=/etc/postgresql/15/main/postgresql.conf"]
          apply: {unit: postgresql@15-main.service, do: reload}
          healthy:
            - {command: [psql, -Atc, SELECT 1, postgres], within: 5s}
            - {unit: postgresql@15-main.service, state: active}
          on_bad: restore
          cooldown: 0s
    retry: {attempts: 2, backoff: 100ms}
"""
_FRONTEND = """frontend web
    bind 127.0.0.1:8080
    mode http
    http-request return status {0} content-type text/plain string {1}
"""
_SITE = "server {{ listen 127.0.0.1:80 default_server; location / {{ return {0} '{1}'; }} }}\n"


def history(service: Service, rule: str) -> dict[str, Any]:
    """The rule's versions and its state."""
    return dict(service.ask("reload", "history", rule))


def becomes(service: Service, rule: str, state: str, **fields: Any) -> None:
    """Wait for a state; ``fate`` is the newest version's."""

    def reached() -> bool:
        found = history(service, rule)
        known = {**found, "fate": (found["versions"] or [{"fate": ""}])[0]["fate"]}
        return found["state"] == state and all(known[name] == value for name, value in fields.items())

    try:
        eventually(reached, f"{rule}: {state} {fields}")
    except AssertionError as error:
        raise AssertionError(f"{error}; {history(service, rule)}\n{service.log()[-4000:]}") from None


def test_services_are_reloaded_from_the_sandbox(boot: Boot) -> None:
    machine = boot("haproxy", "nginx-light", "postgresql", "procps", "rsyslog")  # procps: a kill for haproxy.service
    service = Service(machine)
    machine.path("/etc/nginx/sites-enabled/default").unlink()
    machine.put("/etc/nginx/sites-available/site", _SITE.format(200, "one"))
    machine.run("ln", "-s", "/etc/nginx/sites-available/site", "/etc/nginx/sites-enabled/site")
    machine.put("/etc/default/haproxy", "EXTRAOPTS='-f /etc/haproxy/conf.d'\n")
    machine.put("/etc/haproxy/conf.d/site.cfg", _FRONTEND.format(200, "one"))
    machine.put("/etc/postgresql/15/main/conf.d/memory.conf", "work_mem = '4MB'\n")
    machine.run("chown", "postgres:", "/etc/postgresql/15/main/conf.d/memory.conf")  # its rule's user puts it back
    machine.run("systemctl", "restart", "nginx", "rsyslog", "haproxy", "postgresql@15-main")
    service.configure(RULES)
    service.start()
    for rule in ("nginx", "rsyslog", "haproxy", "postgresql"):
        becomes(service, rule, "synced", good=1)
    _nginx(service)
    _rsyslog(service)
    _haproxy(service)
    _postgresql(service)
    service.kill()
    eventually(lambda: machine.run("filewatchctl", "health", check=False).returncode == 0, "it is there again")
    becomes(service, "nginx", "synced", applied=2, sure=True)
    becomes(service, "rsyslog", "held", applied=2)
    becomes(service, "haproxy", "synced", applied=5, sure=True)
    becomes(service, "postgresql", "synced", applied=5, sure=True)
    for checks in ("reload-check", "reload-outside"):
        assert checks not in str(service.ask("status")["findings"])


def _says(service: Service, port: int = 80) -> str:
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/').read().decode())"
    return service.machine.run("python3", "-c", ask, check=False).stdout.strip()


def _nginx(service: Service) -> None:
    machine = service.machine
    machine.put("/etc/nginx/sites-available/site", _SITE.format(200, "two"))
    becomes(service, "nginx", "synced", good=2)
    assert _says(service) == "two"
    machine.put("/etc/nginx/conf.d/broken.conf", "no such word;\n")
    becomes(service, "nginx", "synced", fate="refused", desired=2)
    assert not machine.path("/etc/nginx/conf.d/broken.conf").exists()
    machine.put("/etc/nginx/sites-available/site", _SITE.format(500, "ill"))
    becomes(service, "nginx", "synced", fate="unhealthy", desired=2)
    assert _says(service) == "two"


def _rsyslog(service: Service) -> None:
    machine = service.machine
    machine.put("/etc/rsyslog.d/x.conf", 'local3.* action(type="omfile" file="/var/log/x")\n')
    becomes(service, "rsyslog", "synced", good=2)
    machine.run("logger", "-p", "local3.info", "hello")
    eventually(lambda: machine.path("/var/log/x").exists(), "rsyslog has the new rule")
    machine.put("/etc/rsyslog.d/x.conf", "local3.* action(type=nonsense\n")
    becomes(service, "rsyslog", "held", fate="refused")


def _haproxy(service: Service) -> None:
    machine, site = service.machine, "/etc/haproxy/conf.d/site.cfg"
    machine.put(site, _FRONTEND.format(200, "two"))
    becomes(service, "haproxy", "synced", good=2)
    assert _says(service, 8080) == "two"
    machine.put(site, _FRONTEND.format(200, "three") + "    no-such-word\n")
    becomes(service, "haproxy", "synced", fate="refused", desired=2)
    machine.put(site, _FRONTEND.format(503, "ill"))
    becomes(service, "haproxy", "synced", fate="unhealthy", desired=2)
    assert _says(service, 8080) == "two"
    _while_down(service, "haproxy", "haproxy.service", lambda: machine.put(site, _FRONTEND.format(200, "five")))
    assert _says(service, 8080) == "five"


def _postgresql(service: Service) -> None:
    machine, etc = service.machine, "/etc/postgresql/15/main"

    def asked(setting: str) -> str:
        return machine.run("psql", "-Atc", f"SHOW {setting}", "postgres", user="postgres", check=False).stdout.strip()

    def put(text: str) -> None:
        machine.put(f"{etc}/conf.d/memory.conf", text)

    rules = machine.get(f"{etc}/pg_hba.conf")
    put("work_mem = '8MB'\n")
    becomes(service, "postgresql", "synced", good=2)
    assert asked("work_mem") == "8MB"
    put("work_mem = '8 elephants'\n")
    becomes(service, "postgresql", "synced", fate="refused", desired=2)
    assert machine.get(f"{etc}/conf.d/memory.conf") == "work_mem = '8MB'\n"
    machine.put(f"{etc}/pg_hba.conf", f"local all all reject\n{rules}", 0o640)
    becomes(service, "postgresql", "synced", fate="unhealthy", desired=2)
    assert machine.get(f"{etc}/pg_hba.conf") == rules
    _while_down(service, "postgresql", "postgresql@15-main.service", lambda: put("work_mem = '16MB'\n"))
    assert asked("work_mem") == "16MB"


def _while_down(service: Service, rule: str, unit: str, change: Callable[[], object]) -> None:
    """A good change to a service that is down is no fault of the set: it stays, and is applied when it is asked for."""
    service.machine.run("systemctl", "stop", unit)
    change()
    becomes(service, rule, "held", fate="failed", desired=5, sure=False)
    service.machine.run("systemctl", "start", unit)
    service.ask("reload", "retry", rule)
    becomes(service, rule, "synced", good=5, sure=True)
