"""Editors: the JSON Schema of the YAML, by which an editor completes, explains and checks while somebody types.

msgspec makes it of the same structs that the conversion walks. What msgspec can't know is put in afterwards: how the
text of a duration or a size looks, commands in their short form, and the actions with their options.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect

from filewatchd.config.convert import type_of
from filewatchd.config.schema import File
from filewatchd.values import READERS

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

Schema = dict[str, Any]
ACTION: Schema = {"$ref": "#/$defs/Action"}


def json_schema(registry: Mapping[str, ActionPackage]) -> Schema:
    """The JSON Schema (draft 2020-12) of a configuration file with these actions."""
    names = sorted(registry)
    types = [File, *(registry[name].Options for name in names)]
    references, found = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    definitions = {name: _readable(schema) for name, schema in found.items()}
    for name, key in _short_forms(types, definitions).items():
        definitions[name] = _with_short_form(definitions[name], key)
    actions = dict(zip(names, references[1:], strict=True))
    definitions["Action"] = _action_entry(actions, registry)
    definitions["Rule"]["properties"]["actions"]["items"] = ACTION
    top = definitions.pop("File")
    top.pop("required")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "filewatchd configuration",
        **top,
        # The main file names the version; a file that holds rules alone need not.
        "anyOf": [{"required": ["version"]}, {"propertyNames": {"const": "rules"}}],
        "$defs": dict(sorted(definitions.items())),
    }


def _readable(schema: Any) -> Any:
    """A schema with our values' text in place of their Python types."""
    if isinstance(schema, list):
        return [_readable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: _readable(value) for key, value in schema.items() if key not in ("x-value", "x-reader", "title")}
    if "x-value" in schema:
        for key in ("type", "anyOf", "exclusiveMinimum", "minimum"):
            result.pop(key, None)
        result |= schema["x-value"] | {"x-name": schema["x-reader"]}
        if "default" in schema:
            result["default"] = READERS[schema["x-reader"]].write(schema["default"])
    if result.pop("x-actions", False):
        result["items"] = ACTION
    if result.get("properties"):
        result["additionalProperties"] = False
    if isinstance(result.get("default", {}), (dict, type(None))):  # a section (its own keys tell), or: not set
        result.pop("default", None)
    if result.get("required") == []:
        del result["required"]
    return result


def _short_forms(types: Iterable[object], definitions: Container[str]) -> dict[str, str]:
    """The structs in these that may be written short, and the key that what is written then belongs to.

    Structs of one name, as actions' options are, stand in the definitions with their modules.
    """
    found: dict[str, str] = {}
    seen = list(map(type_of, types))
    for kind in seen:  # it grows meanwhile; options don't contain themselves
        if isinstance(kind, inspect.StructType):
            if (short := getattr(kind.cls, "short", None)) is not None:
                whole = f"{kind.cls.__module__}.{kind.cls.__qualname__}"
                found[whole if whole in definitions else kind.cls.__name__] = short
            seen += [field.type for field in kind.fields]
        members = (getattr(kind, name, None) for name in ("type", "item_type", "value_type"))
        seen += [member for member in (*members, *getattr(kind, "types", ())) if isinstance(member, inspect.Type)]
    return found


def _with_short_form(schema: Schema, key: str) -> Schema:
    about = schema.pop("description", "")
    short = schema["properties"][key]
    plain = [member for member in short.get("anyOf", (short,)) if member != {"type": "null"}]
    return {"description": about, "anyOf": [*plain, schema], "x-kind": f"{key} or mapping"}


def _action_entry(actions: Mapping[str, Schema], registry: Mapping[str, ActionPackage]) -> Schema:
    options = {}
    for name, reference in actions.items():
        needless = not any(field.required for field in msgspec.structs.fields(registry[name].Options))
        told = {"description": (registry[name].Options.__doc__ or name).partition("\n")[0]}
        options[name] = {"anyOf": [reference, {"type": "null"}], **told} if needless else {**reference, **told}
    return {
        "description": "One action, with its options.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": options,
    }
