"""The daemon keeps to its OpenAPI document, whatever is asked: schemathesis makes the requests, good and bad ones.

The same ones each time; `make soak` asks for more, and for new ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
import urllib3
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks
from urllib3.connection import HTTPConnection

from filewatchd.control.api import socket_in
from tests.e2e.running import Daemon
from tests.e2e.steps import ask
from tests.e2e.test_plugin import request
from tools.reference import PLACE

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
_SETTINGS = settings(
    max_examples=500 if SOAK else 12,
    derandomize=not SOAK,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
_LEFT_OUT = {"shutdown"}  # the daemon would keep its word
_CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
load_all_checks()


class Adapter(HTTPAdapter):
    """requests over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__()

        class Connection(HTTPConnection):
            def connect(self) -> None:
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(20)
                self.sock.connect(path)

        class Pool(urllib3.HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool = Pool("localhost")

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def close(self) -> None:
        self._pool.close()
        super().close()


@contextlib.contextmanager
def session(daemon: Daemon) -> Iterator[requests.Session]:
    with requests.Session() as made:
        made.mount("http://", Adapter(socket_in(str(daemon.directory / "run"))))
        yield made


def served(daemon: Daemon) -> dict[str, Any]:
    return request(daemon, "GET", "/v1/openapi.json")[1]


def test_what_is_served_is_what_is_written(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    found, written = served(daemon), json.loads((PLACE / "openapi.json").read_text())
    assert found["paths"] == written["paths"]
    assert found["components"]["schemas"] == written["components"]["schemas"]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_the_document_says(daemon: Daemon, mode: GenerationMode) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    (daemon.root / "a").write_text("x")
    assert ask(daemon, "flush")["done"]
    document = schemathesis.openapi.from_dict(served(daemon))
    tried = 0
    with session(daemon) as client:
        for result in document.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            if operation.definition.raw["operationId"] in _LEFT_OUT:
                continue
            with contextlib.suppress(Unsatisfiable):  # a route without arguments has no bad ones
                tried += _try(operation, mode, client)
    assert tried > 5
    assert ask(daemon, "status")["ready"] is True
    assert "Traceback" not in daemon.log()


def _try(operation: Any, mode: GenerationMode, client: requests.Session) -> int:
    """Ask for one route again and again; how many times that was."""
    asked = 0

    @settings(_SETTINGS)
    @given(operation.as_strategy(generation_mode=mode))
    def ask_it(case: Any) -> None:
        nonlocal asked
        if isinstance(case.query, dict):
            case.query.pop("follow", None)  # a stream without an end
        response = case.call("http://localhost", client, timeout=20)
        # What is too long for a head is refused before anybody looks at what it says.
        left_out = [checks.negative_data_rejection] if response.status_code == 431 else []
        case.validate_response(response, checks=[check for check in _CHECKS if check not in left_out])
        asked += 1

    ask_it()
    return asked
