"""A service that uses `filewatchd.reloadable`, and the rule that reloads it, both as the how-to has them."""

from __future__ import annotations

import json
import re
import sys
import textwrap
import urllib.request
from pathlib import Path

from tests.e2e.running import Daemon, eventually
from tests.e2e.servicing import Record, free_port, process

PAGE = (Path(__file__).parents[2] / "docs/how-to/reload-your-own-service.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(RULE,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

#: What the page leaves to the reader: a server that says the price and that it is well, and its pid.
SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = "well" if self.path == "/health" else price("tea")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

server = http.server.HTTPServer(("127.0.0.1", PORT), Handler)
open("PIDFILE", "w").write(str(os.getpid()))
server.serve_forever()
"""


def test_a_service_of_ones_own_is_reloaded(daemon: Daemon, tmp_path: Path) -> None:
    settings, pidfile, port = tmp_path / "settings.json", tmp_path / "shop.pid", free_port()

    def here(text: str) -> str:
        places = {"/etc/shop/settings.json": str(settings), "/run/shop.pid": str(pidfile), "PIDFILE": str(pidfile)}
        for old, new in {
            **places,
            "127.0.0.1:8000": f"127.0.0.1:{port}",
            "PORT": str(port),
            "stay: 5s": "stay: 0s",
        }.items():
            text = text.replace(old, new)
        return text.replace("[python3,", f"[{sys.executable},")

    def save(price: str) -> None:
        settings.write_text(price)

    def says() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            return str(reply.read().decode())

    def priced(price: int) -> str:
        return json.dumps({"prices": {"tea": price}, "currency": "EUR"})

    (signal,) = (code for code in CODE if "follow_signal" in code)
    save(priced(1))
    with process(sys.executable, "-c", here(f"{CODE[0]}\n{signal}\n{SERVER}")):
        eventually(pidfile.exists, "the service runs")
        daemon.configure(textwrap.indent(here(RULE).replace("name: shop", "name: service"), "  "))
        daemon.start()
        record = Record(daemon)
        record.becomes("synced", good=1)
        save(priced(2))
        record.becomes("synced", good=2)
        assert says() == "2 EUR"
        save('{"prices": ')
        record.becomes("held", fate="refused")
        assert says() == "2 EUR"
