"""Reloads from filewatchd's own unit: its sandbox may not mount, so the checks run as units of systemd's."""

from __future__ import annotations

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


def test_nginx_and_rsyslog_are_reloaded_from_the_sandbox(boot: Boot) -> None:
    machine = boot("nginx-light", "rsyslog")
    service = Service(machine)
    machine.path("/etc/nginx/sites-enabled/default").unlink()
    machine.put("/etc/nginx/sites-available/site", _SITE.format(200, "one"))
    machine.run("ln", "-s", "/etc/nginx/sites-available/site", "/etc/nginx/sites-enabled/site")
    machine.run("systemctl", "restart", "nginx", "rsyslog")
    service.configure(RULES)
    service.start()
    becomes(service, "nginx", "synced", good=1)
    becomes(service, "rsyslog", "synced", good=1)

    def says() -> str:
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').read().decode())"
        return machine.run("python3", "-c", ask, check=False).stdout.strip()

    machine.put("/etc/nginx/sites-available/site", _SITE.format(200, "two"))
    becomes(service, "nginx", "synced", good=2)
    assert says() == "two"
    machine.put("/etc/nginx/conf.d/broken.conf", "no such word;\n")
    becomes(service, "nginx", "synced", fate="refused", desired=2)
    assert not machine.path("/etc/nginx/conf.d/broken.conf").exists()
    machine.put("/etc/nginx/sites-available/site", _SITE.format(500, "ill"))
    becomes(service, "nginx", "synced", fate="unhealthy", desired=2)
    assert says() == "two"

    machine.put("/etc/rsyslog.d/x.conf", 'local3.* action(type="omfile" file="/var/log/x")\n')
    becomes(service, "rsyslog", "synced", good=2)
    machine.run("logger", "-p", "local3.info", "hello")
    eventually(lambda: machine.path("/var/log/x").exists(), "rsyslog has the new rule")
    machine.put("/etc/rsyslog.d/x.conf", "local3.* action(type=nonsense\n")
    becomes(service, "rsyslog", "held", fate="refused")

    service.kill()
    eventually(lambda: machine.run("filewatchctl", "health", check=False).returncode == 0, "it is there again")
    becomes(service, "nginx", "synced", applied=2, sure=True)
    becomes(service, "rsyslog", "held", applied=2)
    for checks in ("reload-check", "reload-outside"):
        assert checks not in str(service.ask("status")["findings"])
