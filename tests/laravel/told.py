"""How PHP tells of a value (see php/plainly.php), said by Python of phpserialize's own model."""

import math

from liteq.laravel.phpserialize import PhpEnum, PhpObject, PhpReference


def told(value, met=None):
    """What `php.unserialize(dumps(value))` should answer."""
    met = {} if met is None else met
    if isinstance(value, PhpReference):
        return told(value.value, met)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        return _array(value, met)
    if isinstance(value, PhpEnum):
        return {"@enum": f"{value.class_name}::{value.case}"}
    if not isinstance(value, PhpObject):
        return value
    if id(value) in met:
        return {"@again": met[id(value)]}
    met[id(value)] = len(met)
    fields = {_name(str(name)): told(item, met) for name, item in value.properties.items()}
    return {"@class": value.class_name, **fields}


def _float(value):
    if math.isnan(value):
        return {"@float": "NAN"}
    if math.isinf(value):
        return {"@float": "INF" if value > 0 else "-INF"}
    return value


def _array(value, met):
    if list(value) == list(range(len(value))):
        return [told(item, met) for item in value.values()]
    if all(isinstance(key, str) and not key.startswith("@") for key in value):
        return {key: told(item, met) for key, item in value.items()}
    return {"@array": [[key, told(item, met)] for key, item in value.items()]}


def _name(name):
    if not name.startswith("\0"):
        return f"+{name}"
    _, owner, bare = name.split("\0")
    return f"#{bare}" if owner == "*" else f"-{bare}"
