"""Logs that systemd itself opens, and Debian's own writers, rotated by the packaged service."""

from __future__ import annotations

import json
from functools import partial

from tests.e2e.running import eventually
from tests.e2e.systemd.conftest import Boot
from tests.e2e.systemd.service import Service
from tests.programs.programs import NUMBER

_APP = """[Service]
ExecStart=/usr/bin/python3 -u /srv/main/app
StandardOutput=append:{log}
"""
_WRITES = """import time
number = 0
while True:
    for _ in range(40):
        print("filewatchd/%07d/" % number + 40 * "x")
        number += 1
    with open("/srv/main/written", "w") as told:
        told.write(str(number))
    time.sleep(0.02)
"""
# Requests to nginx, and messages to rsyslog past journald, which drops what comes too fast.
_TALKS = """import http.client, socket, sys
http, syslog = http.client.HTTPConnection("127.0.0.1"), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
syslog.connect("/run/systemd/journal/syslog")
for number in range(int(sys.argv[1])):
    line = "filewatchd/%07d/" % number + 40 * "x"
    http.request("GET", "/" + line)
    http.getresponse().read()
    syslog.send(b"<13>Nov 27 21:51:31 test: " + line.encode())
"""
WHEN = {"size": "64KiB", "min_age": "300ms"}


def archived(service: Service, log: str) -> bytes:
    done = service.machine.run("filewatchctl", "archive", "cat", log)
    assert "found by their names" not in done.stderr
    return done.stdout.encode()


def listed(service: Service, log: str) -> int:
    files = json.loads(service.machine.run("filewatchctl", "archive", "ls", log, "--json").stdout)["files"]
    return sum(1 for file in files if file["kind"] == "archive")


def rotated(service: Service, log: str, least: int) -> bool:
    return listed(service, log) >= least


def ends(service: Service, log: str, number: int) -> bool:
    return f"filewatchd/{number:07}/".encode() in archived(service, log)


def test_standard_output_that_is_appended_to_a_file(service: Service) -> None:
    log = f"{service.root}/app.log"
    service.machine.put("/srv/main/app", _WRITES)
    service.machine.put("/etc/systemd/system/app.service", _APP.format(log=log))
    options = json.dumps({"when": WHEN, "method": "auto"})
    service.configure(service.rule("logs", actions=f"rotate: {options}", include=["*.log"], max_wait="100ms"))
    service.start()
    service.machine.run("systemctl", "start", "app")
    eventually(lambda: listed(service, log) >= 3, "it is rotated", 60)
    service.machine.run("systemctl", "stop", "app")
    numbers = [int(number) for number in NUMBER.findall(archived(service, log))]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= int(service.machine.get("/srv/main/written"))


def test_debians_nginx_and_rsyslog(boot: Boot) -> None:
    service = Service(boot("nginx-light", "rsyslog"))
    machine = service.machine
    reopens = {
        "/var/log/nginx/access.log": {"signal": "USR1", "pidfile": "/run/nginx.pid"},
        "/var/log/syslog": ["/usr/bin/systemctl", "kill", "-s", "HUP", "rsyslog.service"],  # as Debian's own script
    }
    rules = []
    for log, reopen in reopens.items():
        folder, _, name = log.rpartition("/")
        actions = f"rotate: {json.dumps({'when': WHEN, 'reopen': reopen})}"
        keys = {"include": [f"/{name}"], "recursive": False, "max_wait": "100ms"}
        rules.append(service.rule(name.partition(".")[0], root=folder, actions=actions, **keys))
    service.configure(*rules)
    machine.put("/srv/main/talk", _TALKS)
    service.start()
    machine.run("/usr/bin/python3", "/srv/main/talk", "8000")
    for log in reopens:
        eventually(partial(rotated, service, log, 2), f"{log} is rotated: {service.log()}", 60)
        eventually(partial(ends, service, log, 7999), f"the last line of {log} is there", 30)
        assert [int(number) for number in NUMBER.findall(archived(service, log))] == list(range(8000))
