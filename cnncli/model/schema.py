"""The architecture language as a JSON Schema, so that editors complete and check while one types.

It is made of the same option tables that the reader uses. Numbers may be expressions, so a schema can only say that
a text has the form of one; ranges of plain numbers are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from cnncli.language.items import JOINS, SHORTCUTS
from cnncli.layers import KINDS
from cnncli.layers.base import REQUIRED, Option
from cnncli.model.assembly import MAX_LAYERS
from cnncli.model.values import PADDING_WORDS
from cnncli.model.vocabulary import ACTIVATIONS, options_of

# a number in quotation marks is refused, an expression of numbers is not
EXPRESSION = {"type": "string", "pattern": r"^(?![0-9]+$)[A-Za-z0-9_+\-*/() ]{1,100}$"}
NAME = {"type": "string", "pattern": r"^(?!input$)[^/\s][^/]{0,63}$"}
SOURCE = {"type": "string", "pattern": r"^[^/\s][^/]*(/[^/]+)*$"}


def language_schema(presets: Sequence[str] = ()) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an architecture file; `presets` are named as examples."""
    kinds = {kind: layer for kind, layer in KINDS.items() if layer.inputs == 1}
    bare = [kind for kind in kinds if not _needs_options(kind)]
    layers = {"$ref": "#/$defs/layers"}
    branch = {"type": "array", "items": {"$ref": "#/$defs/layer"}}
    structures = {
        "residual": _mapping(
            {
                "main": layers,
                "shortcut": {"anyOf": [{"enum": list(SHORTCUTS)}, branch]},
                "activation": {"enum": ["none", *ACTIVATIONS]},
            },
            required=["main"],
        ),
        **{join: {"anyOf": [_branches(branch), _mapping({"branches": _branches(branch)})]} for join in JOINS},
    }
    defined = {kind: _kind_schema(kind) for kind in kinds} | structures
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cnn architecture",
        "description": f"A network for cnn. Presets: {', '.join(presets)}",
        "type": "object",
        "required": ["layers"],
        "additionalProperties": False,
        "properties": {
            "cnn": {"const": 1, "description": "version of the language"},
            "name": {"type": "string", "maxLength": 64},
            "input": {
                "description": "height, width, channels; one number for a vector; or text as 28x28x1 or 1@28x28",
                "anyOf": [
                    {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 3},
                    {"type": "string"},
                    {"type": "integer", "minimum": 1},
                ],
            },
            "classes": {"type": "integer", "minimum": 1, "maximum": 1_000_000},
            "defaults": {
                "type": "object",
                "additionalProperties": False,
                "properties": {kind: _options(kind, common=False) for kind in kinds},
            },
            "blocks": {"type": "object", "additionalProperties": {"$ref": "#/$defs/block"}},
            "layers": layers,
        },
        "$defs": {
            "layers": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/layer"}},
            "layer": {
                "anyOf": [
                    {"enum": bare, "description": "a layer with its defaults"},
                    {"type": "object", "minProperties": 1, "maxProperties": 1, "properties": defined},
                    {"type": "string", "description": "a block without parameters, or a layer whose defaults are set"},
                ]
            },
            "block": _block(layers),
        },
    }


def _needs_options(kind: str) -> bool:
    return bool(KINDS[kind].one_of) or any(option.default is REQUIRED for option in options_of(kind))


def _kind_schema(kind: str) -> dict[str, Any]:
    main = next((option for option in options_of(kind) if option.name == KINDS[kind].main), None)
    choices: list[dict[str, Any]] = [_options(kind, common=True), {"type": "null"}]
    if main is not None:
        choices.append(_value(main))
    return {"description": KINDS[kind].summary, "anyOf": choices}


def _options(kind: str, *, common: bool) -> dict[str, Any]:
    properties = {option.name: {"description": option.help, **_value(option)} for option in options_of(kind)}
    plain = {"type": "object", "additionalProperties": False, "properties": properties}
    schema = _mapping(properties) if common else plain
    pairs = [
        {"required": [one, other]}
        for first, second in combinations(KINDS[kind].one_of, 2)
        for one in first
        for other in second
    ]
    return {**schema, "not": {"anyOf": pairs}} if pairs else schema


def _mapping(properties: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    common = {
        "name": {**NAME, "description": "name of the layer, for tables, checkpoints and `from`"},
        "repeat": _number(1, MAX_LAYERS),
        "from": {"description": "the layer or layers it reads", "anyOf": [SOURCE, {"type": "array", "items": SOURCE}]},
    }
    result = {"type": "object", "additionalProperties": False, "properties": {**properties, **common}}
    return {**result, "required": list(required)} if required else result


def _branches(branch: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": branch, "minItems": 2}


def _block(layers: dict[str, Any]) -> dict[str, Any]:
    values = {"type": "object", "additionalProperties": {"type": ["integer", "string"]}}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["layers"],
        "properties": {"params": {"anyOf": [{"type": "array", "items": {"type": "string"}}, values]}, "layers": layers},
    }


def _number(low: float, high: float) -> dict[str, Any]:
    return {"anyOf": [{"type": "integer", "minimum": int(low), "maximum": int(high)}, EXPRESSION]}


def _value(option: Option) -> dict[str, Any]:
    number = _number(option.low, option.high)
    match option.type:
        case "int":
            return number
        case "pair":
            return {"anyOf": [number, {"type": "array", "items": number, "minItems": 2, "maxItems": 2}]}
        case "pads":
            sides = {"type": "array", "items": number, "minItems": 2, "maxItems": 4}
            words = [] if option.default is REQUIRED else [{"enum": list(PADDING_WORDS)}]
            return {"anyOf": [*words, number, sides]}
        case "shape":
            lengths = {"type": "array", "items": number, "minItems": 3, "maxItems": 3}
            return {"anyOf": [lengths, {"type": "string", "pattern": r"^\s*[0-9]+\s*x\s*[0-9]+\s*x\s*[0-9]+\s*$"}]}
        case "number":
            low = "exclusiveMinimum" if option.open_low else "minimum"
            high = "exclusiveMaximum" if option.open_high else "maximum"
            return {"type": "number", low: option.low, high: option.high}
        case "bool":
            return {"enum": [True, False, "auto"]} if option.default is None else {"type": "boolean"}
        case "init":
            return {"type": "string", "description": "he_normal, glorot_uniform, normal:0.01, uniform:1, zeros, ..."}
        case _:
            return {"enum": list(option.choices)}
