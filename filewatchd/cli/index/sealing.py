"""``filewatchctl index seal, audit``: sign what the index holds, and prove that nothing was rewritten."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from filewatchd.cli.asking import Session
from filewatchd.cli.index.opening import absolute, kept, opened
from filewatchd.cli.options import examples, with_json
from filewatchd.cli.page import BAD, GOOD, WARNING, Block, Cell, Column, Fields, Lines, Table, Text
from filewatchd.cli.text import path_in
from filewatchd.control.places import action_place

if TYPE_CHECKING:
    from filewatchd.state.index.audit import Fault, Forgot
    from filewatchd.state.index.reading import Reader

# ---- seal


@click.command(
    short_help="Sign what the index holds.",
    epilog=examples("filewatchctl index seal --new-key ~/index.key", "filewatchctl index seal --key ~/index.key"),
)
@click.option("--key", type=click.Path(), envvar="FILEWATCHCTL_SEAL_KEY", metavar="FILE",
              help="The key to sign with: ed25519, PEM, readable by you alone.")  # fmt: skip
@click.option("--new-key", type=click.Path(), metavar="FILE",
              help="Make a key: FILE (0600) and FILE.pub, for `index audit --key`. Seals nothing.")  # fmt: skip
@with_json
def seal(session: Session, key: str | None, new_key: str | None) -> None:
    """Have the daemon put a digest of all rows into the chain, sign its head with your key, and keep the signature.

    The daemon never sees the key. Send what is printed to another machine: whoever is root here and has the key can
    make chain and seals anew, but not what you have sent.
    """
    from filewatchd.cli.index import keys

    if new_key is not None:
        public = keys.make(new_key)
        session.tell({"key": new_key, "public": f"{new_key}.pub", "fingerprint": keys.fingerprint(public)}, made)
        return
    if key is None:
        raise click.UsageError("Say --key FILE, or --new-key FILE to make one.", click.get_current_context())
    private = keys.private_key(key)
    with opened(session) as reader:
        known = {root.rule for root in reader.roots()}
    rules = [rule for rule in kept(session) if rule in known]
    if not rules:
        raise click.ClickException("the index is empty, or no rule keeps it; there is nothing to seal")
    sealing = session.ask(action_place("checksum", "seal", acts=True), {"rule": rules[0]}, timeout=None)
    statement = statement_of(sealing)
    signature, public = private.sign(statement.encode()), private.public_key().public_bytes_raw()
    signed = {
        "number": sealing["number"], "statement": statement, "key": base64.b64encode(public).decode(),
        "signature": base64.b64encode(signature).decode(),
    }  # fmt: skip
    session.ask(action_place("checksum", "sealed", acts=True), {"rule": rules[0], **signed})
    session.tell({**signed, "head": sealing["head"], "files": sealing["files"]}, sealed)


def statement_of(sealing: Mapping[str, Any]) -> str:
    """What is signed."""
    said = {"seal": "filewatchd index 1", **{name: sealing[name] for name in ("number", "head", "time", "files")}}
    return json.dumps(said, separators=(",", ":"))


def made(document: Mapping[str, Any]) -> Sequence[Block]:
    """The new key."""
    return [
        Fields(
            [("key", document["key"]), ("public key", document["public"]), ("fingerprint", document["fingerprint"])]
        ),
        Lines(["keep the key off this machine where you can; `index audit --key` takes the public one"]),
    ]


def sealed(document: Mapping[str, Any]) -> Sequence[Block]:
    """The seal, and what to do with it."""
    head = f"{document['number']}:{document['head']}"
    return [
        Fields([("statement", document["statement"]), ("signature", document["signature"]), ("head", head)]),
        Lines([f"keep this elsewhere; `filewatchctl index audit --head {head}` compares"]),
    ]


# ---- audit


class Head(click.ParamType[tuple[int, bytes]]):
    """``NUMBER:HEX``: a head that was kept elsewhere."""

    name = "head"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, bytes]:
        """Number and hash."""
        number, _, digits = str(value).partition(":")
        try:
            head = int(number), bytes.fromhex(digits)
        except ValueError:
            head = 0, b""
        if len(head[1]) != 32:
            self.fail(f"{value!r} is no head; write NUMBER:HEX, as `index seal` prints it", param, ctx)
        return head


@click.command(
    short_help="Prove that nothing was rewritten.",
    epilog=examples("filewatchctl index audit --key index.key.pub --head 1234:9f86d081..."),
)
@click.option("--key", "public_keys", type=click.Path(), multiple=True, metavar="FILE",
              help="A public key that seals may be signed with; without any, whatever key they name.")  # fmt: skip
@click.option("--head", "heads", type=Head(), multiple=True, metavar="NUMBER:HEX",
              help="A head that you have kept elsewhere.")  # fmt: skip
@with_json
def audit(session: Session, public_keys: Sequence[str], heads: Sequence[tuple[int, bytes]]) -> int:
    """Recompute the chain of all that was accepted, and compare it with the rows, the decisions and the seals.

    Exit code 3: something doesn't fit. It needs no daemon.
    """
    from filewatchd.cli.index import keys
    from filewatchd.state.index import audit as auditing

    known = [keys.public_key(path) for path in public_keys]
    with opened() as reader:
        seals, faults = _seals(reader, known)
        trusted = [each["number"] for each in seals if each["wrong"] is None]
        audited = auditing.audit(reader.connection, max(trusted, default=None))
        faults += _heads(reader, heads)
        roots = {root.id: root for root in reader.roots()}
        told = [_fault(each, roots) for each in audited.faults]
    document = {
        "entries": audited.entries,
        "first": audited.first,
        "head": None if audited.head is None else f"{audited.head.number}:{audited.head.hash.hex()}",
        "rows": audited.rows,
        "forgotten": [_forgotten(each) for each in audited.forgotten],
        "seals": seals,
        "keys_given": len(known),
        "faults": [*told, *faults],
    }
    session.tell(document, report)
    return 3 if document["faults"] else 0


def _fault(fault: Fault, roots: Mapping[int, Any]) -> dict[str, Any]:
    from filewatchd.notation import path_fields

    root = roots.get(fault.root or 0)
    where = None if root is None else absolute(root.root, fault.path or "")
    return {"entry": fault.number, **({} if where is None else path_fields("path", where)), "what": fault.what}


def _forgotten(forgot: Forgot) -> dict[str, Any]:
    from filewatchd.cli.index.telling import moment
    from filewatchd.notation import path_fields

    root = path_fields("root", os.fsdecode(forgot.root))
    time = moment(forgot.time_ns)
    return {"entry": forgot.number, "time": time, "rule": forgot.rule, **root, "uid": forgot.uid}


def _seals(reader: Reader, known: Sequence[bytes]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """All seals, and what is wrong with them."""
    from filewatchd.cli.index import keys
    from filewatchd.cli.index.telling import moment

    found, faults = [], []
    for number, when, statement, key, signature, uid, head in reader.connection.execute(
        "SELECT s.number, s.time_ns, s.statement, s.key, s.signature, s.uid, c.hash FROM seals s"
        " LEFT JOIN chain c ON c.number = s.number ORDER BY s.number"
    ):
        keys.needed()
        wrong = _wrong(statement, key, signature, number, head, known)
        fingerprint = keys.fingerprint(key)
        found.append({"number": number, "time": moment(when), "key": fingerprint, "uid": uid, "wrong": wrong})
        if wrong is not None:
            faults.append({"entry": number, "what": wrong})
    return found, faults


def _wrong(
    statement: str, key: bytes, signature: bytes, number: int, head: bytes | None, known: Sequence[bytes]
) -> str | None:
    from filewatchd.cli.index import keys

    if known and key not in known:
        return f"the seal is signed with another key, {keys.fingerprint(key)}"
    if not keys.is_signed(key, statement, signature):
        return "the seal's signature is wrong"
    try:
        said = json.loads(statement)
        named = int(said["number"]), bytes.fromhex(said["head"])
    except (ValueError, KeyError, TypeError):
        return "the seal's statement can't be read"
    if head is not None and named != (number, head):
        return "the entry isn't the one that was sealed: the chain was made anew"
    return None


def _heads(reader: Reader, heads: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    faults = []
    for number, head in heads:
        found = reader.connection.execute("SELECT hash FROM chain WHERE number = ?", (number,)).fetchone()
        if found is None:
            faults.append({"entry": number, "what": "this entry isn't kept, or never was"})
        elif found[0] != head:
            faults.append({"entry": number, "what": "the entry has another hash than the head you gave"})
    return faults


def report(document: Mapping[str, Any]) -> Iterator[Block]:
    """What was proven, and what doesn't fit."""
    kept = f"{document['entries']:,}"
    if document["first"] > 1:
        kept += f", from {document['first']:,} on: older ones are no longer kept"
    yield Fields([("entries", kept), ("head", document["head"] or ""), ("rows compared", f"{document['rows']:,}")])
    yield Table(
        (Column("seal"), Column("time"), Column("key"), Column("signature")),
        [[str(each["number"]), each["time"] or "", each["key"], _good(each["wrong"])] for each in document["seals"]],
        "Seals",
    )
    yield Table(
        (Column("entry"), Column("time"), Column("rule"), Column("root"), Column("uid")),
        [
            [str(each["entry"]), each["time"] or "", each["rule"], path_in(each, "root"), str(each["uid"])]
            for each in document["forgotten"]
        ],
        "Forgotten since",
    )
    yield Lines([_faulty(each) for each in document["faults"]], "Faults")
    notes: list[Text] = []
    if not document["seals"]:
        notes.append(Cell("nothing is sealed: rows from before the chain can't be proven", WARNING))
    elif not document["keys_given"]:
        notes.append(Cell("the seals name their keys themselves; say --key to compare with yours", WARNING))
    yield Lines([*notes, Cell("nothing was rewritten", GOOD) if not document["faults"] else Cell("REWRITTEN", BAD)])


def _good(wrong: str | None) -> Text:
    return Cell("good", GOOD) if wrong is None else Cell(wrong, BAD)


def _faulty(fault: Mapping[str, Any]) -> Text:
    where = [f"entry {fault['entry']}"] if fault.get("entry") else []
    where += [path_in(fault)] if "path" in fault else []
    return Cell(f"{', '.join(where)}: {fault['what']}" if where else fault["what"], BAD)
