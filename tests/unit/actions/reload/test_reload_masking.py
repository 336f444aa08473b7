"""What looks secret isn't shown, whatever it is written in, and what doesn't is."""

# ruff: noqa: E501 - samples read best in a row

from __future__ import annotations

import subprocess
import sys

import pytest

from filewatchd.actions.reload.masking import MaskedOutput, masked

_CRYPT = "$6$saltsalt$" + "hunter2" * 8
HIDDEN = [
    "password = hunter2", "DB_PASSWORD=hunter2", '"client_secret": "hunter2",', "api-key: hunter2", "requirepass hunter2",
    "stats auth admin:hunter2", "token hunter2", "    proxy_password  hunter2;", "masterauth hunter2", "dbPassword=hunter2",
    "export TOKEN='hunter2'", "secretAccessKey: hunter2", "aws_secret_access_key = hunter2", "PrivateKey = hunter2",
    "PresharedKey = hunter2", "wpa_psk=hunter2", "user=me password=hunter2 host=x", "machine x login me password hunter2",
    "url = postgres://me:hunter2@db/x", "redis://:hunter2@cache:6379/0", "amqp://me:hunter@2hunter2@mq/", "http://a:hunter2@b,http://c:d@e",
    "authorization: Bearer hunter2", "header X-Auth 'Bearer hunter2hunter2'", "auth_basic_value Basic aHVudGVy2hunter2==",
    'curl -H "Basic hunter2hunter2=="', "id: eyJhbGciOiJI.eyJzdWIiOi.hunter2", "x: ghp_hunter2hunter2", "y: xoxb-hunter2-hunter2",
    "https://hooks.slack.com/services/T0/B0/hunter2", "admin:$apr1$salt$hunter2hunter2hunter2", f"root:{_CRYPT}:19000:0:",
    "admin:{SHA}hunter2hunter2=", '"md5" "SCRAM-SHA-256$4096:salt$hunter2:hunter2"', "db.local:5432:*:me:hunter2",
    "<password>hunter2</password>", '<add key="Password" value="hunter2"/>', 'key "k" { algorithm x; secret "hunter2"; };',
    "-----BEGIN RSA PRIVATE KEY-----\nhunter2\nmore\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nhunter2\n", '"pem": "-----BEGIN PRIVATE KEY-----\\nhunter2\\n-----END PRIVATE KEY-----"',
    "password: |\n  hunter2\n  hunter2", "password: >-\n    hunter2\nnext: 1", "tokens:\n  - hunter2\n  - hunter2", "  secret:\n    hunter2",
    '"password":\n  "hunter2"', '"secrets": [\n  "hunter2"\n]', "password = '''\nhunter2'''", "PASSWORD=\\\nhunter2", "PASSWORD=hunter\\\nhunter2",
]  # fmt: skip
SHOWN = [
    "listen 80;", "ssl_certificate_key /etc/ssl/x.key;", "server_tokens off;", "# a pass", "PasswordAuthentication yes",
    "proxy_set_header Host $host;", "rewrite ^/(.*)$ /x/$1$is_args$args;", "http://host:80/path?mail=me@example.org",
    "location /auth {\n    return 200;\n}", "root:x:0:0:root:/root:/bin/sh", "# Basic authentication", "ports: 127.0.0.1:80:80",
    "auth:\n  type: basic\n  ttl: 5", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "pass: yes", "volumes:\n  - a",
    "# enter your password\n    indented", "proxy_pass http://backend;", "fastcgi_pass unix:/run/php.sock;", "# Bypass the fact that",
    "grpc_pass grpc://b:1;",
]  # fmt: skip


@pytest.mark.parametrize("text", HIDDEN)
def test_what_looks_secret_is_masked(text: str) -> None:
    assert "hunter2" not in masked(text)
    assert masked(text) == masked(text)
    assert masked(text) != masked(text.replace("hunter2", "hunter3"))


@pytest.mark.parametrize("text", SHOWN)
def test_what_does_not_is_shown(text: str) -> None:
    assert masked(text) == text


def test_what_follows_a_secret_of_several_lines_is_shown() -> None:
    text = masked("a:\n  password: |\n    hunter2\n\n    hunter2\n  port: 80\nb: 1")
    assert text.split("\n")[-2:] == ["  port: 80", "b: 1"]
    assert "hunter2" not in text


def test_output_is_masked_in_whole_lines_whatever_its_pieces_are() -> None:
    said: list[bytes] = []
    output = MaskedOutput(said.append)
    for letter in b"password: |\n  hunter2\nok \xff\ntoken hunter2":
        output(bytes([letter]))
    assert said[2:] == [b"ok \xff\n"]
    output.end()
    assert (b"hunter2" in b"".join(said), b"".join(said).count(b"masked")) == (False, 2)
    MaskedOutput(said.append)(b"x" * 100_000)  # a line without an end isn't held for ever
    assert len(said[-1]) == 100_001
    said.clear()
    output = MaskedOutput(said.append)
    for _ in range(60):
        output(b"line\n" * 1000)
    assert len(b"".join(said)) <= 256 << 10


LONG = {
    "a word": "a" * 100_000,
    "words": "secret" * 15_000,
    "blanks": "password" + " " * 100_000,
    "parts": "a." * 50_000,
    "schemes": "a:" * 50_000,
    "slashes": "://" * 30_000,
    "tags": "<" + "password" * 12_000,
    "opened tags": "<password " * 10_000,
    "keys": "-----BEGIN A PRIVATE KEY" * 5_000,
    "hashes": "$1$a" * 25_000,
    "base64": "basic " + "a" * 100_000,
    "tokens": "bearer " * 15_000,
    "colons": ":" * 100_000,
}


def test_a_long_line_takes_no_time_that_anybody_would_notice() -> None:
    """An expression whose time grows with the square of a line would hold up the daemon for hours."""
    lines = list(LONG.values())
    program = f"from filewatchd.actions.reload.masking import masked\nfor line in {lines!r}: masked(line)"
    subprocess.run([sys.executable, "-"], input=program, text=True, check=True, timeout=60)
