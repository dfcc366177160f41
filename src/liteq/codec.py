"""Codec: a task's call and its result ⇄ JSON text, typed by the function's annotations.

What an annotation means for a value is shapes' business. Nothing is pickled, nothing evaluated.

The hot path is a call with plain arguments. Whether a call fits the signature depends only on how
many arguments go by place and on the names of the others, so that is worked out once and kept.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from json import encoder as json_encoder
from typing import TYPE_CHECKING, Any, NamedTuple

from liteq.errors import Cancel, EncodingError, InvalidArguments, PayloadTooLarge, TaskTimeout

if TYPE_CHECKING:  # they cost milliseconds to import; the first call of a task pays them
    import inspect

    from liteq.shapes import Shape

_ATOMS = frozenset({str, int, float, bool, type(None)})
_TEXT = frozenset({str})
_MOST_PLANS = 256  # a function of *args or **kwargs may be called in endlessly many ways
_WIDEST_PLAN = 64  # and with endlessly many arguments
_SHOWN = 60  # characters of a value in a message


class _Plan(NamedTuple):
    """How the arguments of all calls of one arity travel."""

    plain: bool  # all as they are
    args: "list[Shape]"
    kwargs: "dict[str, Shape]"


class _Facts(NamedTuple):
    """What a function's signature and hints say."""

    signature: "inspect.Signature"
    label: str  # "send_email(to: str, subject: str)", for messages
    names: list[str]  # of the parameters that take arguments by place
    rest: str  # the name of *args, or ""
    others: str  # the name of **kwargs, or ""
    shapes: "dict[str, Shape]"  # of all parameters
    returns: "Shape"
    riddles: dict[str, str]  # annotations that cannot be resolved, by parameter or "return"


class Codec:
    """Writes and reads the calls and the results of one function.

    The annotations are read at first use, when the names in them are surely defined. A parameter
    without one, or with one that cannot be resolved, takes what JSON itself can carry; a tuple
    then arrives as a list, and a subclass of str, int, float, list or dict as that.
    """

    __slots__ = ("_function", "_known", "_plans", "_returns_plain")

    portable = False  # whether a process that was not forked is sent it, as no module registers it

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._known: _Facts | None = None
        self._plans: dict[object, _Plan] = {}
        self._returns_plain = False  # until the annotations have been read

    def call_text(self, args: tuple[Any, ...], kwargs: dict[str, Any], limit: int) -> str:
        """`{"args": [...], "kwargs": {...}}`, at most `limit` bytes of UTF-8.

        Raises InvalidArguments for a call that the signature refuses, EncodingError for an
        argument that cannot travel, PayloadTooLarge.
        """
        arity = (len(args), *kwargs) if kwargs else len(args)
        plan = self._plans.get(arity) or self._plan(arity, args, kwargs)
        if (
            plan.plain
            and _ATOMS.issuperset(map(type, args))
            and _ATOMS.issuperset(map(type, kwargs.values()))
        ):
            call: dict[str, Any] = {"args": args, "kwargs": kwargs}
        else:
            call = self._dumped(plan, args, kwargs)
        try:
            text = _encode(call)
            size = len(text) if text.isascii() else len(text.encode())
        except (ValueError, RecursionError) as error:
            raise self._unwritable(call, error) from None
        if size > limit:
            raise self._call_too_large(call, size, limit)
        return text

    def call(self, payload: str | None) -> tuple[list[Any], dict[str, Any]]:
        """The arguments again, rebuilt by the annotations.

        A payload that was written by hand may lack args or kwargs, or be empty. Raises
        EncodingError for one that cannot be read, InvalidArguments for one that does not fit.
        """
        args, kwargs = self._parts(payload)
        arity = (len(args), *kwargs) if kwargs else len(args)
        plan = self._plans.get(arity) or self._plan(arity, args, kwargs)
        return (args, kwargs) if plan.plain else self._loaded(plan, args, kwargs)

    def named(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the values that the function takes by name; all, if it takes `**anything`."""
        facts = self._facts()
        if facts.others:
            return dict(values)
        wanted = facts.shapes.keys() - {facts.rest}
        return {name: value for name, value in values.items() if name in wanted}

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments of a call by their names, for who knows no places.

        Raises InvalidArguments for more places than the function has names for.
        """
        names = self._facts().names
        if len(args) > len(names):
            raise InvalidArguments(f"{self._facts().label} has no names for all of {list(args)!r}")
        return {**dict(zip(names, args, strict=False)), **kwargs}

    def result_text(self, value: Any, limit: int) -> str:
        """The result as JSON, at most `limit` bytes. Raises EncodingError, PayloadTooLarge."""
        if value is None:
            return "null"
        if not (self._returns_plain and _is_flat(value)):
            value = self._dumped_result(value)
        try:
            text = _encode(value)
            size = len(text) if text.isascii() else len(text.encode())
        except (ValueError, RecursionError) as error:
            raise EncodingError(f"{self._result()} {_complaint(error)}") from None
        if size > limit:
            raise _too_large(self._result(), size, limit)
        return text

    def result(self, text: str | None) -> Any:
        """The result again, rebuilt by the return annotation. Raises EncodingError."""
        if not text:
            return None
        try:
            plain = _decode(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise EncodingError(
                f"{self._result()} is stored as {_shown(text)}, which is not JSON: {error}"
            ) from None
        returns = self._facts().returns
        try:
            return None if plain is None else returns.load(plain)
        except Exception as error:  # the constructors are the user's; they may raise anything
            raise _unreadable(self._result(), returns, plain, error) from error

    def _facts(self) -> _Facts:
        if self._known is None:
            self._known = _facts(self._function)
            self._returns_plain = _all_plain([self._known.returns])
        return self._known

    def _plan(self, arity: object, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Plan:
        """Check the call against the signature, and keep what was found for its like."""
        facts = self._facts()
        try:
            facts.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{facts.label} cannot be called like this: {error}") from None
        names = facts.names[: len(args)]
        named = facts.shapes.keys() - {facts.rest, facts.others}
        by_place = [facts.shapes[name] for name in names]
        by_place += [facts.shapes[facts.rest] for _ in args[len(names) :]]
        by_name = {name: facts.shapes[name if name in named else facts.others] for name in kwargs}
        plan = _Plan(_all_plain([*by_place, *by_name.values()]), by_place, by_name)
        if len(args) + len(kwargs) <= _WIDEST_PLAN:
            if len(self._plans) >= _MOST_PLANS:
                self._plans.clear()
            self._plans[arity] = plan
        return plan

    def _dumped(
        self, plan: _Plan, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        by_place: list[Any] = []
        by_name: dict[str, Any] = {}
        for shape, value in zip(plan.args, args, strict=True):
            try:
                by_place.append(None if value is None else shape.dump(value))
            except Exception as error:  # a model's serializer is the user's
                raise _unfit(self._argument(len(by_place)), value, error) from None
        for name, value in kwargs.items():
            try:
                by_name[name] = None if value is None else plan.kwargs[name].dump(value)
            except Exception as error:
                raise _unfit(self._argument(name), value, error) from None
        return {"args": by_place, "kwargs": by_name}

    def _loaded(
        self, plan: _Plan, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        by_place: list[Any] = []
        by_name: dict[str, Any] = {}
        for shape, plain in zip(plan.args, args, strict=True):
            try:
                by_place.append(None if plain is None else shape.load(plain))
            except Exception as error:  # the constructors are the user's
                raise _unreadable(self._argument(len(by_place)), shape, plain, error) from error
        for name, plain in kwargs.items():
            shape = plan.kwargs[name]
            try:
                by_name[name] = None if plain is None else shape.load(plain)
            except Exception as error:
                raise _unreadable(self._argument(name), shape, plain, error) from error
        return by_place, by_name

    def _dumped_result(self, value: Any) -> Any:
        returns = self._facts().returns
        try:
            return returns.dump(value)
        except Exception as error:  # as in _dumped
            raise _unfit(self._result(), value, error) from None

    def _parts(self, payload: str | None) -> tuple[list[Any], dict[str, Any]]:
        """Args and kwargs as plain data."""
        if not payload:
            return [], {}
        try:
            found = _decode(payload)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._malformed(payload, f"is not JSON ({error})") from None
        if type(found) is not dict:
            raise self._malformed(payload, "is not a JSON object")
        args, kwargs = found.get("args"), found.get("kwargs")
        if type(args) is list and type(kwargs) is dict:
            return args, kwargs
        if found and not found.keys() & {"args", "kwargs"}:
            raise self._malformed(payload, "has neither args nor kwargs")
        if not isinstance(args, list | None):
            raise self._malformed(payload, "has args that are not a list")
        if not isinstance(kwargs, dict | None):
            raise self._malformed(payload, "has kwargs that are not an object")
        return args or [], kwargs or {}

    def _argument(self, which: int | str) -> str:
        """What to call the argument at this place, or of this name, in a message."""
        facts = self._facts()
        extra = which - len(facts.names) if isinstance(which, int) else -1
        if extra >= 0:
            return f"argument '{facts.rest}[{extra}]' of {self._title(facts.rest)}"
        name = facts.names[which] if isinstance(which, int) else which
        return f"argument {name!r} of {self._title(name if name in facts.shapes else facts.others)}"

    def _result(self) -> str:
        return f"the result of {self._title('return')}"

    def _title(self, annotated: str) -> str:
        """The function, and a word on what is annotated where that explains the trouble."""
        riddle = self._facts().riddles.get(annotated)
        doubt = f" (whose annotation {riddle} cannot be resolved)" if riddle else ""
        return f"task function {_name(self._function)!r}{doubt}"

    def _unwritable(self, call: dict[str, Any], error: Exception) -> EncodingError:
        """What JSON refused at last, with the argument that holds it."""
        for which, plain in _each(call):
            try:
                _encode(plain).encode()
            except (ValueError, RecursionError) as culprit:
                return EncodingError(f"{self._argument(which)} {_complaint(culprit)}")
        return EncodingError(f"the call of {self._facts().label} {_complaint(error)}")

    def _call_too_large(self, call: dict[str, Any], size: int, limit: int) -> PayloadTooLarge:
        what = f"the call of {self._facts().label}"
        by_size = sorted(_each(call), key=lambda each: len(_encode(each[1])))
        if by_size:
            what = f"{self._argument(by_size[-1][0])}, with the others,"
        return _too_large(what, size, limit)

    def _malformed(self, payload: object, what: str) -> EncodingError:
        return EncodingError(
            f"the payload {_shown(payload)} for {self._facts().label} {what}; "
            'it should read {"args": [...], "kwargs": {...}}'
        )


def check_size(what: str, text: str, limit: int) -> None:
    """Raise PayloadTooLarge if the text takes more than `limit` bytes; `what` it is begins it."""
    size = len(text.encode())
    if size > limit:
        raise _too_large(what, size, limit)


def _facts(function: Callable[..., Any]) -> _Facts:
    import inspect

    from liteq import shapes

    signature = shapes.signature_of(function)
    hints = shapes.hints_of(inspect.unwrap(function))
    parameters = signature.parameters.values()
    by_place = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    by_name = {each.name: shapes.shape_of(hints.get(each.name, Any)) for each in parameters}
    return _Facts(
        signature=signature,
        label=f"{_name(function)}{shapes.told(signature)}",
        names=[each.name for each in parameters if each.kind in by_place],
        rest=next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), ""),
        others=next((each.name for each in parameters if each.kind is each.VAR_KEYWORD), ""),
        shapes=by_name,
        returns=shapes.shape_of(hints.get("return", Any)),
        riddles={name: text for name, text in _annotated(signature) if name not in hints},
    )


def _annotated(signature: "inspect.Signature") -> "Iterator[tuple[str, str]]":
    """The annotations as they are written, by parameter or "return"."""
    for name, parameter in signature.parameters.items():
        if parameter.annotation is not parameter.empty:
            yield name, repr(parameter.annotation)
    if signature.return_annotation is not signature.empty:
        yield "return", repr(signature.return_annotation)


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _all_plain(these: "Sequence[Shape]") -> bool:
    from liteq.shapes import Plain

    return all(isinstance(each, Plain) for each in these)


def _is_flat(value: Any) -> bool:
    """Whether JSON surely carries it: an atom, or a dict of such. Others need a closer look."""
    kind = type(value)
    return kind in _ATOMS or (
        kind is dict
        and _TEXT.issuperset(map(type, value))
        and _ATOMS.issuperset(map(type, value.values()))
    )


def _each(call: dict[str, Any]) -> "Iterator[tuple[int | str, Any]]":
    yield from enumerate(call["args"])
    yield from call["kwargs"].items()


def _unfit(what: str, value: Any, error: Exception) -> EncodingError:
    from liteq.shapes import Unfit

    _let_pass(error)
    if not isinstance(error, Unfit):
        return EncodingError(f"{what} {_complaint(error)}")
    verb = "is" if error.value is value else "holds"
    return EncodingError(f"{what} {verb} {error}")


def _unreadable(what: str, shape: "Shape", plain: Any, error: Exception) -> EncodingError:
    _let_pass(error)
    why = " ".join(str(error).split())  # pydantic speaks in several lines
    return EncodingError(
        f"{what} cannot be rebuilt as {shape.name} from {_shown(plain)}: "
        f"{type(error).__name__}: {why}"
    )


def _let_pass(error: Exception) -> None:
    """A run's alarm may ring while we encode; it is no fault of the value."""
    if isinstance(error, (Cancel, TaskTimeout)):
        raise error


def _complaint(error: Exception) -> str:
    """What is wrong with a value, said of it, and what to do."""
    if isinstance(error, UnicodeEncodeError):
        return (
            f"holds {error.object[error.start]!r}, half of a surrogate pair, which is no text; "
            "pass bytes, or decode it with errors='replace'"
        )
    if isinstance(error, RecursionError):
        return "is nested too deeply, or holds itself; pass flatter data"
    if "Out of range float" in str(error):
        return "holds nan or an infinity, for which JSON has no number; pass None or text"
    return f"cannot be written as JSON ({type(error).__name__}: {error}); pass it as text"


def _too_large(what: str, size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"{what} would take {size} bytes as JSON, and payload_limit is {limit}; "
        "store the data elsewhere and pass where it is"
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _decode(text: str) -> Any:
    """Like json.loads, 1 µs faster for what we wrote ourselves; NaN is refused."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return _decoder.decode(text)  # space around it, or something wrong with it


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _fast_encode() -> Callable[[Any], str]:
    """JSONEncoder.encode, 1 µs faster: that makes its C machine anew for each call."""
    python = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False)
    machine = getattr(json_encoder, "c_make_encoder", None)
    if machine is None:  # PyPy
        return python.encode
    text = json_encoder.encode_basestring
    chunks = machine(None, python.default, text, None, ": ", ", ", False, False, False)
    join = "".join
    return lambda plain: join(chunks(plain, 0))


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_scan: Callable[[str, int], tuple[Any, int]] = vars(_decoder)["scan_once"]
_encode = _fast_encode()
