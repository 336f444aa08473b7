"""The reference: `docs/reference/configuration.md`, made of the schema, so that it can't fall behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from filewatchd.config.editors import ACTION, Schema, json_schema

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

_HEAD = """# Configuration

<!-- Made by `filewatchd schema --markdown`; a test compares. Change schema.py, rule.py or reference.py. -->

One YAML file, and as many rule files as you like. `filewatchd check` tells every mistake in them with its line and
what would be right; `filewatchd check --show` prints every value and where it comes from. Editors complete and explain
the keys where a file begins with this line, which names the schema that `filewatchd schema` prints:

```yaml
# yaml-language-server: $schema=filewatchd.json
```

## How YAML is read

- Types are those of YAML 1.2: only `true` and `false` are truth values; `yes`, `on` and `22:15` are text.
- Equal keys in one mapping, unknown keys, tags and merge keys (`<<`) are mistakes. Aliases are allowed.
- Text that begins with `*`, `!`, `{`, `[` or `@` needs quotes: `"*.csv"`, `"{path}"`.
- Bounds for each file: 1 MiB, 64 levels, 100,000 values (aliases counted for what they stand for); UTF-8; one document.

## Values

| value | how it is written |
|---|---|
| duration | `250ms` `5s` `10m` `1h` `1d`, or several with falling units: `1h30m`. Only `0` needs no unit |
| size | `64KiB` `100MiB` (powers of 1024), `10MB` `1GB` (powers of 1000), or a number of bytes |
| rate | `50MB/s` `2000/s`; also for each minute `/m` or hour `/h` |
| share | `10%` |
| room | a share or a size |
| share of a processor | `50%` is half of one, `200%` two |
| path | relative ones start at the directory of their file; from flags and the environment, at the working directory. \
`~`, `~user` and `${VAR}` expand; an unknown variable is a mistake |
| pattern | gitignore syntax, relative to the root; named classes such as `[[:digit:]]` are ASCII's |
| period | a duration, or `hour`, `day`, `week`, `month` |
| schedule | a mapping: `{every: 1d, at: "03:30"}`; `every` is a period. With `week` or `month` \
also `weekday` (`mon` to `sun`); `timezone`; `splay`, a duration over which hosts are spread. `expect` has `by`, \
not `at` |
| rule name, instance | 1 to 64 letters, digits, `_`, `.` and `-` |
| principal | a user `nagios`, or a group `"@adm"` |
| listen | a loopback address and a port: `"127.0.0.1:9817"` |
| signal | a name (`TERM`, `HUP`) or a number |
| user, group | a name that this system knows |
| secret | `{file: PATH}` or `{credential: NAME}` (systemd's `LoadCredential=`); read when needed, never shown |
| command | a list of words, never a shell's line |
| proxy | `environment`, `none`, or `http://HOST:PORT` (with `USER:PASSWORD@` if need be) |
| time of day | `03:30`, `22:15` |
| weekday | `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun` |
| mode | of a file, in octal and in quotes: `"0640"` |
| name of a unit | with its type: `nginx.service` |
| host and port | `127.0.0.1:8080`, `"[::1]:8080"` |
| actions | a list; each entry names one action, with its options: `- exec: {command: [true]}` |

## Layers

Low to high; a higher one wins. Mappings merge, lists replace, rules merge by name. Two rules of one name in one layer
are a mistake.

1. The defaults on this page.
2. What a rule's actions bring: any of `batch`, `ready`, `initial`, `changes`, `retry`, `follow_symlinks`. Where two
   disagree, the first wins.
3. The main file. Its `defaults:` apply to all rules, below what a rule says itself.
4. Its `rule_files`: they hold `rules` (and `version`) alone. A missing file is a mistake; a glob without any is not.
5. `filewatchd.$FILEWATCHD_ENV.yaml` beside the main file, if `FILEWATCHD_ENV` is set; it must exist then.
6. Variables `FILEWATCHD_SECTION__KEY`, such as `FILEWATCHD_DAEMON__MAX_RUNNING=4` or `FILEWATCHD_LOGGING__LEVEL=debug`,
   for the sections `daemon`, `control`, `logging` and `defaults`. The value is YAML. Empty ones count as unset.
7. Flags.

## What is refused

- Files that others may write, or that belong to neither root nor the daemon's user, or that stand in directories of
  which that is true. Root's sticky directories such as `/tmp`, a user's own group and read-only filesystems don't
  count.
- Run by root: a rule with a root in a place that others may write, unless its `user:` is set (even to `root`).
- A rule that would see the daemon's own state or log files, or that its action says would see its own output.

A configuration manager checks a rule file before it is put in place with `filewatchd check --fragment FILE`: as if it
stood among the `rule_files`. A rule file whose name the new one's name contains is taken as its predecessor.
"""

_SECTIONS = (
    ("daemon", "Daemon"),
    ("daemon.history", "History"),
    ("control", "Control"),
    ("logging", "Logging"),
    ("logging.files", "LogFiles"),
    ("logging.files.rotate", "Rotation"),
    ("logging.files.rotate.keep", "KeepLogs"),
    ("a rule", "Rule"),
    ("retry", "RetryOption"),
    ("limit", "LimitOption"),
    ("expect", "ExpectOption"),
)
_NOT_IN_DEFAULTS = "`name`, `description`, `roots`, `actions`, `expect` and `renamed_from`"
_WORDS = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false", "null": ""}


def reference(registry: Mapping[str, ActionPackage]) -> str:
    """The page, with these actions."""
    schema = json_schema(registry)
    parts = [_HEAD, "## The file\n", *_table(schema, schema)]
    for title, name in _SECTIONS:
        section = schema["$defs"][name]
        parts += [f"\n## {title}\n", section["description"] + "\n", *_table(section, schema)]
        if name == "Rule":
            parts.append(f"\n`defaults:` may hold each of these keys but {_NOT_IN_DEFAULTS}.")
    actions = schema["$defs"]["Action"]["properties"]
    for name in sorted(actions):
        options = _mapping(_resolved(actions[name], schema))
        parts += [f"\n## action {name}\n", options.get("description", "") + "\n", *_table(options, schema)]
        for key, section in _mappings(options, schema):
            parts += [f"\n## action {name}, {key}\n", section["description"] + "\n", *_table(section, schema)]
    return "\n".join(part for part in parts if part != "\n") + "\n"


def _mapping(options: Schema) -> Schema:
    """An action's options as a mapping, if they may be written short, too."""
    whole = [member for member in options.get("anyOf", ()) if "properties" in member]
    return {"description": options.get("description", ""), **whole[0]} if whole else options


def _mappings(options: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """An action's options that may be mappings with keys of their own, and these."""
    for key, value in options["properties"].items():
        for section in _sections(value, schema):
            yield key, section


def _sections(value: Schema, schema: Schema) -> Iterator[Schema]:
    """The mappings with keys that a value may be, or hold as a list; a short form is told as the mapping it is for."""
    value = _resolved(value, schema)
    members = [_resolved(member, schema) for member in value.get("anyOf", (value,))]
    for member in members:
        if "properties" in member and "x-name" not in member:
            yield {**member, "description": member.get("description") or value["description"]}
        elif member.get("type") == "array" and member.get("items", ACTION) != ACTION and len(members) == 1:
            yield from _sections(member["items"], schema)
        elif "anyOf" in member and member is not value:
            yield from _sections(member, schema)


def _table(section: Schema, schema: Schema) -> Iterator[str]:
    yield "| key | value | default | what it does |"
    yield "|---|---|---|---|"
    for key, value in sorted(section["properties"].items(), key=lambda item: _order(item[0], section)):
        default = "required" if key in section.get("required", ()) else _default(value)
        about = value.get("description", "")
        yield f"| `{key}` | {_kind(value, schema)} | {default} | {about} |".replace("|  |", "| |")


def _order(key: str, section: Schema) -> int:
    """What must be said first; the rest as it was declared."""
    required = section.get("required", [])
    keys = list(section["properties"])
    return required.index(key) - len(keys) if key in required else keys.index(key)


def _default(value: Schema) -> str:
    if "default" not in value:
        return ""
    default = value["default"]
    if isinstance(default, list):
        return f"`[{', '.join(map(str, default))}]`"
    return f"`{default if isinstance(default, str) and default else json.dumps(default)}`"


def _kind(value: Schema, schema: Schema) -> str:
    value = _resolved(value, schema)
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    if "x-kind" in value:
        return str(value["x-kind"])
    if "anyOf" in value:
        kinds = dict.fromkeys(_kind(member, schema) for member in value["anyOf"] if member != {"type": "null"})
        return " or ".join(sorted(kinds, key=lambda kind: kind.startswith("list of")))
    if "x-name" in value:
        return str(value["x-name"])
    if value.get("items") == ACTION:
        return "list of actions"
    if value.get("type") == "array":
        return f"list of {_kind(value['items'], schema)}"
    return "mapping" if value.get("type") == "object" else _WORDS.get(str(value.get("type")), "any")


def _resolved(value: Schema, schema: Schema) -> Any:
    """The schema behind a reference, or the one member of "this or nothing"."""
    members = [member for member in value.get("anyOf", ()) if member != {"type": "null"}]
    if len(members) == 1:
        return _resolved(members[0], schema)
    name = str(value.get("$ref", "")).rpartition("/")[2]
    return schema["$defs"][name] if name else value
