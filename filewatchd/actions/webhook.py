"""The action ``webhook``: one request for a job, which tells its changes or its notice to a server of somebody else.

The body is the document that commands get with ``stdin: json``, or what ``json`` or ``body`` make of it. Placeholders
fill strings, never JSON's own text, so no name can break out of its string.

A request may come twice: it is sent again after kill -9, and when its answer was lost. Each delivery has an id that is
the same for all tries of a job, so the receiver can tell. Id, time and signature are those of Standard Webhooks
(https://www.standardwebhooks.com), for which there are libraries in most languages: HMAC-SHA256 over id, time and body.

Who answers 408, 425, 429 or 5xx, or not at all, is asked again by the job's retries, and not before its Retry-After.
Any other answer than 2xx is final. Redirects are answers like these: the body and its secrets are for one host.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from filewatchd.actions.base import Context, JobContext, Needs, Problem
from filewatchd.actions.command import payload
from filewatchd.actions.secrecy import secret_problems
from filewatchd.actions.template import TemplateError, parse
from filewatchd.actions.weburl import Url, header_problems, parse_url, revealed, secrets_of
from filewatchd.actions.wording import DOCUMENT, NAMES, filled, message, parsed, template_problems, values_of
from filewatchd.errors import ActionError, SecretError
from filewatchd.model import OK, Outcome, RuleSettings
from filewatchd.notation import MalformedError
from filewatchd.values import Duration, PathTo, Reader, Secret, annotation
from filewatchd.work import web

name = "webhook"
_AGAIN = frozenset({408, 425, 429})  # RFC 9110, RFC 8470, RFC 6585: ask later
_TOKEN = "whsec_"  # begins a secret in base64


def parse_proxy(value: object) -> str:
    """``environment``, ``none``, or an http URL, in which there may be a password.

    Raises:
        MalformedError: it is something else.
    """
    if value in ("environment", "none"):
        return str(value)
    text = value if isinstance(value, str) else ""
    scheme, _, rest = text.partition("://")
    place = rest.rpartition("@")[2]
    if scheme != "http":
        raise MalformedError(f"{value!r} is no proxy", "write environment, none, or http://HOST:PORT")
    parse_url(f"http://{place}")
    return text


Proxy = Annotated[
    str,
    annotation(Reader("proxy", parse_proxy), type="string", examples=["environment", "none", "http://10.0.0.1:3128"]),
]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell a server: one HTTP request for a job, or for a notification."""

    url: Annotated[
        Url | Secret,
        Meta(description="Where it is sent; a secret if whoever knows it may post. It may hold placeholders."),
    ]
    method: Annotated[Literal["POST", "PUT", "PATCH"], Meta(description="The request's method.")] = "POST"
    headers: Annotated[dict[str, str | Secret], Meta(description="Headers to add, for example a token.")] = {}
    json: Annotated[
        Any, Meta(description="The body as YAML, sent as JSON; its strings may hold placeholders. Else the document.")
    ] = None
    body: Annotated[str | None, Meta(description="The body as plain text with placeholders, instead of JSON.")] = None
    secrets: Annotated[
        dict[str, Secret], Meta(description="More placeholders, by their names: `{token: {file: token.txt}}`.")
    ] = {}
    sign: Annotated[
        Secret | None, Meta(description="Sign each request with this key, as Standard Webhooks have it (HMAC-SHA256).")
    ] = None
    status: Annotated[tuple[int, ...], Meta(description="Answers that are a success; none: 200 to 299.")] = ()
    timeout: Annotated[Duration, Meta(description="How long a try may take, all in all.")] = 30.0
    proxy: Annotated[
        Proxy, Meta(description="`environment`: as `https_proxy` and `no_proxy` say; `none`; or a URL.")
    ] = "environment"
    ca: Annotated[
        PathTo | None, Meta(description="A file of the authorities to verify the server by, instead of the system's.")
    ] = None

    def __post_init__(self) -> None:
        if self.json is not None and self.body is not None:
            raise MalformedError("both json and body are given", "remove one of them")
        for word in self.secrets:
            if word in (*NAMES, DOCUMENT) or not word.isidentifier():
                raise MalformedError(
                    f"a secret can't have the name {word!r}", "use another name, of letters, digits and _"
                )
        if self.timeout <= 0:
            raise MalformedError("no request can be sent in no time", "write a longer timeout")


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Placeholders, headers and files."""
    names = _names(options)
    yield from template_problems(options.json, ("json",), names)
    for where, text in (("body", options.body), ("url", options.url)):
        if isinstance(text, str):
            yield from template_problems(text, (where,), names)
    yield from header_problems(options.headers)
    for where, secret in (("url", options.url), ("sign", options.sign)):
        if isinstance(secret, Secret):
            yield from secret_problems(secret, (where,))
    for word, secret in options.secrets.items():
        yield from secret_problems(secret, ("secrets", word))
    if options.ca is not None:
        yield from secret_problems(Secret(file=options.ca), ("ca",))


def _names(options: Options) -> tuple[str, ...]:
    return (*NAMES, *options.secrets)


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """None: the general ones are right."""
    return {}


def needs(options: Options) -> Needs:
    """Nothing."""
    return Needs()


def open(options: Options, ctx: Context) -> WebhookAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return WebhookAction(options, ctx)


class WebhookAction:
    """Sends requests; see `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._sent = self._refused = 0
        self._host = socket.gethostname()
        self.reconfigure(options)

    async def recover(self) -> None:
        """Nothing: a request that was cut off is sent again, with the same id if its job is tried again."""

    async def run(self, job: JobContext) -> Outcome:
        """Send the request."""
        request, hidden = await self._request(job)
        try:
            reply = (await web.ask(request, self._ctx.pool)).without(hidden)
        except ActionError:
            self._refused += 1
            raise
        if reply.status in self._options.status or (not self._options.status and 200 <= reply.status < 300):
            self._sent += 1
            return OK
        self._refused += 1
        if reply.body:
            job.output(reply.body[:4096])
        raise _refusal(request.url, reply, self._ctx.clock.wall_ns() / 1e9)

    def plan(self, job: JobContext) -> Sequence[str]:
        """The request, without its secrets."""
        url = web.shown(self._options.url) if isinstance(self._options.url, str) else "a secret URL"
        return [f"{self._options.method} {url}: {message(job)}"]

    def reconfigure(self, options: Options) -> bool:
        """Always possible in place."""
        self._options = options
        self._body = parsed(options.json if options.body is None else options.body, _names(options))
        return True

    async def stop(self, grace: float) -> None:
        """Nothing is open."""

    def statistics(self) -> Mapping[str, Any]:
        """How many requests were taken, and how many were not."""
        return {"sent": self._sent, "refused": self._refused}

    # ---- the request

    async def _request(self, job: JobContext) -> tuple[web.Request, list[str]]:
        """What to send, and what of it nobody shall see in an answer."""
        options, now = self._options, self._ctx.clock.wall_ns()
        delivery = f"{self._host}.{job.rule}.{job.id}".encode("ascii", "replace").decode("ascii")
        revealed_ones = await self._ctx.pool.run("", _secrets, options)
        values = values_of(job) | {"host": self._host, "time": payload.time_shown(now), "id": delivery}
        values |= revealed_ones.placeholders
        url, headers, key = _url(revealed_ones.url, values, _names(options)), revealed_ones.headers, revealed_ones.key
        body, media = self._content(job, values)
        own = [("content-type", media), ("webhook-id", delivery), ("webhook-timestamp", str(now // 10**9))]
        if key is not None:
            own.append(("webhook-signature", signature(key, delivery, now // 10**9, body)))
        given = {header.lower() for header, _ in headers}
        named = [pair for pair in own if pair[0] not in given]
        proxy = web.proxy_of(url) if options.proxy == "environment" else options.proxy
        request = web.Request(
            url, options.method, [*named, *headers], body, min(options.timeout, job.timeout), options.ca,
            None if proxy == "none" else proxy,
        )  # fmt: skip
        hidden = [*revealed_ones.placeholders.values(), *secrets_of(options.headers, headers)]
        if isinstance(options.url, Secret):
            hidden += [url, url.partition("://")[2].partition("/")[2]]
        return request, hidden if key is None else [*hidden, key.decode("utf-8", "replace")]

    def _content(self, job: JobContext, values: Mapping[str, str]) -> tuple[bytes, str]:
        document = payload.document(job, job.changes)
        if self._options.body is not None:
            return str(filled(self._body, values, document)).encode(), "text/plain; charset=utf-8"
        content = document if self._options.json is None else filled(self._body, values, document)
        return msgspec.json.encode(content), "application/json"


class Revealed(NamedTuple):
    """What is read anew for each request."""

    url: str
    placeholders: Mapping[str, str]
    headers: list[tuple[str, str]]
    key: bytes | None


def _secrets(options: Options) -> Revealed:
    """Blocks."""
    try:
        url = options.url if isinstance(options.url, str) else options.url.reveal()
        placeholders = {word: secret.reveal() for word, secret in options.secrets.items()}
        key = None if options.sign is None else key_of(options.sign.reveal())
    except SecretError as error:
        raise ActionError(f"a secret can't be read: {error}") from error
    return Revealed(url, placeholders, revealed(options.headers), key)


def _url(text: str, values: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The URL with its placeholders filled, each a part that can't change where it leads."""
    try:
        return parse_url(parse(text, names).fill({name: quote(value, safe=":@") for name, value in values.items()}))
    except (MalformedError, TemplateError) as error:
        raise ActionError("what shall be the URL is none of http or https", retryable=False) from error


def key_of(secret: str) -> bytes:
    """A key to sign with: ``whsec_`` and base64, as Standard Webhooks have it, or any text."""
    if secret.startswith(_TOKEN):
        try:
            return base64.b64decode(secret.removeprefix(_TOKEN), validate=True)
        except binascii.Error as error:
            raise ActionError("the secret to sign with isn't base64 after whsec_", retryable=False) from error
    return secret.encode()


def signature(key: bytes, delivery: str, seconds: int, body: bytes) -> str:
    """The value of webhook-signature."""
    signed = b"%s.%d.%s" % (delivery.encode(), seconds, body)
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode('ascii')}"


def _refusal(url: str, reply: web.Reply, now: float) -> ActionError:
    said = f": {reply.text}" if reply.text else ""
    if 300 <= reply.status < 400:
        where = (
            web.shown(reply.headers.get("location", "")) if "://" in reply.headers.get("location", "") else "elsewhere"
        )
        said = f" and sends to {where}, which isn't followed: write the new URL"
    again = reply.status >= 500 or reply.status in _AGAIN
    after = web.retry_after(reply, now) if again else 0.0
    return ActionError(f"{web.shown(url)} answered {reply.status}{said}", retryable=again, after=after)
