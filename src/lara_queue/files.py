"""Files: what the files of a Laravel project say, as values, and what of it is not known.

Reads composer's lock, `.env` and `config/*.php`, or the cached configuration, as Laravel itself
would. What the values mean is project's business.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from lara_queue import defaults, dotenv, phpconfig, places
from lara_queue.phpconfig import Scope, Table, Unknown, Value

_LARGEST_ENV = 1_000_000  # bytes
_IN_URL = ("host", "port", "username", "password", "database")
_MERGED = {"queue": "connections", "database": "connections", "cache": "stores"}


class Files:
    """The files of a project, read once."""

    def __init__(self, root: str) -> None:
        """Raises ValueError naming the file, and the line where there is one."""
        self.root = root
        self.packages = _packages(root)
        self.version = self.packages.get("laravel/framework")  # of Laravel
        self.major = _major(self.version)
        self.unknown: list[str] = []  # sentences about what is not known, or out of reach
        self.needed: dict[str, str] = {}  # those about what url() needs, by its parameter
        self._missed: set[tuple[Unknown, str]] = set()
        self._values = self._files()

    def part(self, *path: str, need: str = "") -> "Part":
        """The array that lies under this path; an empty one where there is none."""
        return Part(self, path, table_of(self.find(*path)), need)

    def find(self, *path: str) -> Value:
        """The value under this path: the file's name, then the keys."""
        value = self._values.get(path[0])
        for key in path[1:]:
            if not isinstance(value, Table):
                return value if isinstance(value, Unknown) else None
            value = value.get(key)
        return value

    def miss(self, path: tuple[str, ...], value: Unknown, need: str, secret: bool = False) -> None:
        """Put on record that a value is not known, and what to do about it.

        Once for each piece of PHP, as one may stand for many values.
        """
        if (value, need) in self._missed:
            return
        self._missed.add((value, need))
        how = "with PHP code" if secret else f"by `{value.source}`"  # a secret may be in the code
        hint = "give a URL of your own"
        if need and need != "server":
            hint = f"pass {need}=… to url()"
        elif not need:
            hint = "it is left out"
        sentence = (
            f"{value.file}:{value.line}: {'.'.join(path[1:])} is computed {how}, which only PHP "
            f"can tell; {hint}"
        )
        self.say(sentence)
        if need:
            self.needed.setdefault(need, sentence)

    def say(self, sentence: str) -> None:
        """Put a sentence for the user on record, once."""
        if sentence not in self.unknown:
            self.unknown.append(sentence)

    def _files(self) -> dict[str, Value]:
        cached = os.environ.get("APP_CONFIG_CACHE") or "bootstrap/cache/config.php"
        cached = os.path.join(self.root, cached)
        if os.path.isfile(cached):  # then Laravel reads neither .env nor config/
            label = os.path.relpath(cached, self.root)
            whole = self._read(cached, label, os.environ)
            names = {str(key): value for key, value in whole.entries.items()}
            return names | {
                name: whole.rest for name in ("app", "queue", "database", "cache")
                if name not in names
            }  # fmt: skip
        env = self._env()
        return {
            name: self._config(name, env)
            for name in ("app", "queue", "database", "cache", "horizon")
        }

    def _env(self) -> dict[str, str]:
        name = ".env"
        stage = os.environ.get("APP_ENV")
        if stage and os.path.isfile(os.path.join(self.root, f".env.{stage}")):
            name = f".env.{stage}"
        path = os.path.join(self.root, name)
        if not os.path.isfile(path):
            return dict(os.environ)
        if os.path.getsize(path) > _LARGEST_ENV:
            raise ValueError(f"{path} is larger than {_LARGEST_ENV} bytes")
        return dotenv.load(_content(path), path, os.environ)

    def _config(self, name: str, env: Mapping[str, str]) -> Value:
        """One configuration file, upon Laravel's own as far as Laravel itself does that."""
        path = os.path.join(self.root, "config", f"{name}.php")
        found = os.path.isfile(path)
        if name == "horizon" and not found and "laravel/horizon" not in self.packages:
            return None
        own = self._read(path, f"config/{name}.php", env) if found else None
        if own is not None and name != "horizon" and self.major is not None and self.major < 11:
            return own
        base = self._base(name, env)
        if own is not None:
            return _merged(base, own, _MERGED.get(name))
        if name != "horizon" and (self.major is None or self.major < 11):
            version = "the newest Laravel" if self.major is None else f"Laravel {self.major}"
            self.say(f"config/{name}.php is missing; what {version} comes with is assumed")
        return base

    def _base(self, name: str, env: Mapping[str, str]) -> Table:
        package = "horizon" if name == "horizon" else "framework"
        path = os.path.join(self.root, "vendor", "laravel", package, "config", f"{name}.php")
        if os.path.isfile(path):
            return self._read(path, os.path.relpath(path, self.root), env)
        label = f"Laravel's own config/{name}.php"
        scope = Scope(env, self.root, os.path.dirname(path))
        base = phpconfig.read(defaults.source(name, self.major), label, scope)
        assert isinstance(base, Table)
        return base

    def _read(self, path: str, label: str, env: Mapping[str, str]) -> Table:
        value = phpconfig.read(_content(path), label, Scope(env, self.root, os.path.dirname(path)))
        if isinstance(value, Unknown):
            return Table(rest=value)
        if not isinstance(value, Table):
            raise ValueError(f"{path} does not return an array")
        return value


class Part:
    """An array of the configuration, and where it lies; asking it puts on record what it hides."""

    def __init__(
        self,
        files: Files,
        path: tuple[str, ...],
        table: Table,
        need: str,
        url: str | None = None,
    ) -> None:
        self.files = files
        self.path = path
        self.table = table
        self.need = need  # under which name url() needs what is in here; "" for what it does not
        self.url = url

    def text(
        self, key: str | int, default: str | None = None, *, need: str | None = None,
        secret: bool = False,
    ) -> str | None:  # fmt: skip
        """The value as text; `default` where there is none, None where it is not known."""
        value = self.table.get(key)
        if value is None:
            return default
        if isinstance(value, Unknown):
            need = self.need if need is None else need
            self.files.miss((*self.path, str(key)), value, need, secret)
            return None
        if isinstance(value, Table):
            raise ValueError(f"{self._label(key)} is an array where one value belongs")
        return phpconfig.text(value)

    def number(self, key: str, default: int | None, *, need: str | None = None) -> int | None:
        """The value as a whole number, as `text` gives its text."""
        value = self.table.get(key)
        if value is None or value == "":
            return default
        if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
            raise ValueError(f"{self._label(key)} is {value!r}, which is no whole number")
        text = self.text(key, need=need)
        return None if text is None else phpconfig.integer(value)

    def hides(self, *keys: str) -> bool:
        """Whether one of these is not known."""
        return any(isinstance(self.table.get(key), Unknown) for key in keys)

    def login(self) -> tuple[str | None, str | None]:
        """The user's name and password; phpredis also takes both as an array."""
        value = self.table.get("password")
        if isinstance(value, Table):
            both = Part(self.files, (*self.path, "password"), value, self.need)
            return both.text(0, secret=True), both.text(1, secret=True)
        username, password = self.text("username", secret=True), self.text("password", secret=True)
        return username or None, password or None

    def has_acl(self) -> bool:
        """Whether name and password come as an array."""
        return isinstance(self.table.get("password"), Table)

    def inner(self, key: str) -> "Part":
        """The array under this key; an empty one where there is none."""
        return Part(self.files, (*self.path, key), table_of(self.table.get(key)), self.need)

    def with_url(self) -> "Part":
        """The same with what its `url` says, which wins; the URL is no longer in it."""
        url = self.text("url", secret=True)
        entries = {key: value for key, value in self.table.entries.items() if key != "url"}
        hidden = self.table.get("url")
        if isinstance(hidden, Unknown):
            entries |= dict.fromkeys(_IN_URL, hidden)
        if url:
            entries |= places.url_parts(url, self._label("url"))
        return Part(self.files, self.path, Table(entries, self.table.rest), self.need, url or None)

    def writing(self) -> "Part":
        """The same with what its `write` says, where reads and writes go to different servers."""
        write = self.inner("write").table
        hosts = write.entries.get("host", self.table.get("host"))
        entries = {**self.table.entries, **write.entries}
        if isinstance(hosts, Table):  # Laravel takes any of them
            entries["host"] = next(iter(hosts.entries.values()), None)
        return Part(self.files, self.path, Table(entries, self.table.rest), self.need)

    def _label(self, key: str | int) -> str:
        return f"config/{self.path[0]}.php: {'.'.join((*self.path[1:], str(key)))}"


def table_of(value: Value) -> Table:
    """The value as an array: an empty one for what is none, one of unknowns for an Unknown."""
    if isinstance(value, Table):
        return value
    return Table(rest=value if isinstance(value, Unknown) else None)


def _packages(root: str) -> dict[str, str]:
    """The installed packages and their versions, else those that composer.json asks for."""
    for name in ("composer.lock", os.path.join("vendor", "composer", "installed.json")):
        path = os.path.join(root, name)
        if os.path.isfile(path):
            found = _json(path)
            listed = found if isinstance(found, list) else []
            if isinstance(found, dict):
                listed = [*found.get("packages", []), *found.get("packages-dev", [])]
            return {
                str(package.get("name")): str(package.get("version", "")).removeprefix("v")
                for package in listed
                if isinstance(package, dict)
            }
    wanted = _json(os.path.join(root, "composer.json"))
    require = wanted.get("require") if isinstance(wanted, dict) else None
    asked = require if isinstance(require, dict) else {}
    return {name: _newest(str(constraint)) for name, constraint in asked.items()}


def _json(path: str) -> Any:
    try:
        return json.loads(_content(path))
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"{path} is no JSON: {exc}") from exc


def _newest(constraint: str) -> str:
    """The largest major version of a constraint such as "^10.10 || ^11.0"; "" for `dev-main`."""
    majors = [int(found) for found in re.findall(r"(?<![\d.])\d{1,6}", constraint)]
    return str(max(majors)) if majors else ""


def _major(version: str | None) -> int | None:
    found = re.match(r"\d{1,6}", version or "")
    return int(found[0]) if found else None


def _content(path: str) -> str:
    """A file's text. Bytes that are no UTF-8 are replaced, as PHP's dotenv does it."""
    with open(path, "rb") as file:
        return file.read().decode("utf-8-sig", "replace")


def _merged(base: Table, own: Table, deeper: str | None) -> Table:
    """`array_merge` of Laravel's own configuration and the project's, as Laravel 11+ does it."""
    kept = dict.fromkeys(base.entries, own.rest) if own.rest else base.entries
    entries = {**kept, **own.entries}
    inner, outer = base.get(deeper or ""), own.entries.get(deeper or "")
    if deeper and isinstance(inner, Table) and isinstance(outer, Table):
        entries[deeper] = _merged(inner, outer, None)
    return Table(entries, own.rest or base.rest)
