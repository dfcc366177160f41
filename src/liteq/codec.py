"""Codec: a task's call and its result ⇄ JSON text, typed by the function's annotations.

What an annotation means for a value is shapes' business. Nothing is pickled, nothing evaluated.

The hot path is a call with plain arguments. Whether a call fits the signature depends only on how
many arguments go by place and on the names of the others, so that is worked out once and kept.
"""

import inspect
import json
from collections.abc import Callable, Iterator
from json import encoder as json_encoder
from typing import TYPE_CHECKING, Any, NamedTuple

from liteq.errors import EncodingError, InvalidArguments, PayloadTooLarge

if TYPE_CHECKING:  # what shapes imports costs 10 ms; the first call of a task pays it
    from liteq.shapes import Shape, Unfit

_ATOMS = frozenset({str, int, float, bool, type(None)})
_MOST_PLANS = 256  # a function of **kwargs may be called in endlessly many ways
_SHOWN = 60  # characters of a value in a message


class _Plan(NamedTuple):
    """How the arguments of all calls of one arity travel."""

    plain: bool  # all as they are
    args: "list[Shape]"
    kwargs: "dict[str, Shape]"


class _Facts(NamedTuple):
    """What a function's signature and hints say."""

    signature: inspect.Signature
    label: str  # "send_email(to: str, subject: str)", for messages
    names: list[str]  # of the parameters that take arguments by place
    shapes: "dict[str, Shape]"  # of all parameters, under their names
    rest: str  # the name of *args, or ""
    others: str  # the name of **kwargs, or ""
    plain: bool  # all parameters are plain
    returns: "Shape"
    returns_plain: bool


class Codec:
    """Writes and reads the calls and the results of one function.

    The annotations are read at first use, when the names in them are surely defined. A parameter
    without one, or with one that cannot be resolved, takes what JSON itself can carry; a tuple
    then arrives as a list.
    """

    __slots__ = ("_function", "_known", "_plain", "_plans", "_returns_plain")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._known: _Facts | None = None
        self._plans: dict[object, _Plan] = {}
        self._plain = self._returns_plain = False  # until the annotations have been read

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
            raise self._unwritable_call(call, error) from None
        if size > limit:
            raise _too_large(f"the arguments of {self._facts().label}", size, limit)
        return text

    def call(self, payload: str | None) -> tuple[list[Any], dict[str, Any]]:
        """The arguments again, rebuilt by the annotations.

        A payload that was written by hand may lack args or kwargs, or be empty. Raises
        EncodingError naming what is wrong with it.
        """
        if not payload:
            return [], {}
        try:
            found = _decode(payload)
            args, kwargs = found["args"], found["kwargs"]
        except (ValueError, LookupError, TypeError, RecursionError):
            args, kwargs = self._read_by_hand(payload)
        if type(args) is not list or type(kwargs) is not dict:
            args, kwargs = self._read_by_hand(payload)
        if self._plain:
            return args, kwargs
        return self._loaded(args, kwargs)

    def result_text(self, value: Any, limit: int) -> str:
        """The result as JSON, at most `limit` bytes. Raises EncodingError, PayloadTooLarge."""
        if value is None:
            return "null"
        if self._returns_plain and type(value) in _ATOMS:
            plain = value
        else:
            plain = self._dumped_result(value)
        try:
            text = _encode(plain)
            size = len(text) if text.isascii() else len(text.encode())
        except (ValueError, RecursionError) as error:
            raise EncodingError(f"{self._result_of()} {_complaint(error)}") from None
        if size > limit:
            raise _too_large(self._result_of(), size, limit)
        return text

    def result(self, text: str | None) -> Any:
        """The result again, rebuilt by the return annotation. Raises EncodingError."""
        if not text:
            return None
        try:
            plain = _decode(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise EncodingError(
                f"{self._result_of()} is stored as {text!r:.{_SHOWN}}, which is not JSON: {error}"
            ) from None
        returns = self._facts().returns
        return self._load(returns, plain, self._result_of)

    def _facts(self) -> _Facts:
        if self._known is None:
            self._known = _facts(self._function)
            self._plain = self._known.plain
            self._returns_plain = self._known.returns_plain
        return self._known

    def _plan(self, arity: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Plan:
        """Check the call against the signature, and keep what was found for its like."""
        facts = self._facts()
        try:
            facts.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(f"{facts.label} cannot be called like this: {error}") from None
        by_place = [self._place(index)[1] for index in range(len(args))]
        by_name = {name: self._named(name)[1] for name in kwargs}
        plan = _Plan(_all_plain([*by_place, *by_name.values()]), by_place, by_name)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[arity] = plan
        return plan

    def _place(self, index: int) -> "tuple[str, Shape]":
        """The name and the shape of the argument at this place."""
        facts = self._facts()
        if index < len(facts.names):
            name = facts.names[index]
            return name, facts.shapes[name]
        return f"{facts.rest}[{index - len(facts.names)}]", _shape_of(facts, facts.rest)

    def _named(self, name: str) -> "tuple[str, Shape]":
        facts = self._facts()
        known = name in facts.shapes and name not in (facts.rest, facts.others)
        return name, _shape_of(facts, name if known else facts.others)

    def _dumped(self, plan: _Plan, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {
            "args": [
                self._dump(shape, value, lambda i=index: self._argument(self._place(i)[0]))
                for index, (shape, value) in enumerate(zip(plan.args, args, strict=True))
            ],
            "kwargs": {
                name: self._dump(plan.kwargs[name], value, lambda n=name: self._argument(n))
                for name, value in kwargs.items()
            },
        }

    def _loaded(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        facts = self._facts()
        if facts.plain:
            return args, kwargs
        places = [(*self._place(index), value) for index, value in enumerate(args)]
        names = [(*self._named(name), value) for name, value in kwargs.items()]
        return (
            [self._load(shape, value, lambda n=n: self._argument(n)) for n, shape, value in places],
            {
                n: self._load(shape, value, lambda n=n: self._argument(n))
                for n, shape, value in names
            },
        )

    def _dumped_result(self, value: Any) -> Any:
        return self._dump(self._facts().returns, value, self._result_of)

    def _dump(self, shape: "Shape", value: Any, what: Callable[[], str]) -> Any:
        if value is None:
            return None
        try:
            return shape.dump(value)
        except EncodingError as error:
            raise EncodingError(_misfit(what(), value, error)) from None
        except (ValueError, RecursionError) as error:
            raise EncodingError(f"{what()} {_complaint(error)}") from None

    def _load(self, shape: "Shape", plain: Any, what: Callable[[], str]) -> Any:
        if plain is None:
            return None
        try:
            return shape.load(plain)
        except Exception as error:  # the constructors are the user's; they may raise anything
            raise EncodingError(
                f"{what()} cannot be rebuilt as {shape.name} from {plain!r:.{_SHOWN}}: {error}"
            ) from error

    def _argument(self, name: str) -> str:
        return f"argument {name!r} of {self._facts().label}"

    def _result_of(self) -> str:
        return f"the result of task function {self._function.__name__!r}"

    def _unwritable_call(self, call: dict[str, Any], error: Exception) -> EncodingError:
        """What JSON refused at last, with the name of the argument that holds it."""
        for name, plain in self._each(call):
            try:
                _encode(plain).encode()
            except (ValueError, RecursionError) as culprit:
                return EncodingError(f"{self._argument(name)} {_complaint(culprit)}")
        return EncodingError(f"the arguments of {self._facts().label}: {_complaint(error)}")

    def _each(self, call: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for index, plain in enumerate(call["args"]):
            yield self._place(index)[0], plain
        yield from call["kwargs"].items()

    def _read_by_hand(self, payload: str) -> tuple[list[Any], dict[str, Any]]:
        """Args and kwargs of a payload that we did not write."""
        try:
            found = _decode(payload)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._malformed(payload, f"is not JSON ({error})") from None
        if not isinstance(found, dict):
            raise self._malformed(payload, "is not a JSON object")
        if found and not found.keys() & {"args", "kwargs"}:
            raise self._malformed(payload, "has neither args nor kwargs")
        args, kwargs = found.get("args"), found.get("kwargs")
        args, kwargs = [] if args is None else args, {} if kwargs is None else kwargs
        if not isinstance(args, list):
            raise self._malformed(payload, "has args that are not a list")
        if not isinstance(kwargs, dict):
            raise self._malformed(payload, "has kwargs that are not an object")
        return args, kwargs

    def _malformed(self, payload: object, what: str) -> EncodingError:
        return EncodingError(
            f"the payload {payload!r:.{_SHOWN}} of a job of {self._facts().label} {what}; "
            'it should read {"args": [...], "kwargs": {...}}'
        )


def _facts(function: Callable[..., Any]) -> _Facts:
    from liteq import shapes

    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell
        signature = inspect.signature(lambda *args, **kwargs: None)
    parameters = signature.parameters.values()
    hints = shapes.hints_of(inspect.unwrap(function))
    by_name = {each.name: shapes.shape_of(hints.get(each.name, Any)) for each in parameters}
    returns = shapes.shape_of(hints.get("return", Any))
    return _Facts(
        signature=signature,
        label=f"{function.__name__}{signature.replace(return_annotation=inspect.Signature.empty)}",
        names=[each.name for each in parameters if each.kind in _BY_PLACE],
        shapes=by_name,
        rest=next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), ""),
        others=next((each.name for each in parameters if each.kind is each.VAR_KEYWORD), ""),
        plain=_all_plain(by_name.values()),
        returns=returns,
        returns_plain=_all_plain([returns]),
    )


def _shape_of(facts: _Facts, name: str) -> "Shape":
    from liteq import shapes

    return facts.shapes.get(name, shapes.ANYTHING)


def _all_plain(these: Any) -> bool:
    from liteq.shapes import Plain

    return all(isinstance(each, Plain) for each in these)


def _misfit(what: str, value: Any, error: "Unfit | EncodingError") -> str:
    found = getattr(error, "value", value)
    verb = "is" if found is value else "holds"
    return f"{what} {verb} {error}"


def _complaint(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):
        return (
            f"holds {error.object[error.start]!r}, half of a surrogate pair, which is no text; "
            "pass bytes, or decode the text with errors='replace'"
        )
    if isinstance(error, RecursionError):
        return "is nested too deeply, or holds itself; pass flatter data"
    if "float" in str(error):
        return "holds nan or an infinity, for which JSON has no number; pass None or text"
    return f"cannot be written as JSON: {error}; pass it as text"


def _too_large(what: str, size: int, limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"{what} would take {size} bytes as JSON, and payload_limit is {limit}; "
        "store the data elsewhere and pass where it is"
    )


def _decode(text: str) -> Any:
    """Like json.loads, 1 µs faster for what we wrote ourselves; NaN is refused."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return _decoder.decode(text)  # space around it, or something wrong with it


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_decoder = json.JSONDecoder(parse_constant=_no_number)
_scan = _decoder.scan_once
_encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False)


def _fast_encoder() -> Callable[[Any], str]:
    """`_encoder.encode`, 1 µs faster: JSONEncoder makes its C machine anew for each call."""
    if json_encoder.c_make_encoder is None:  # PyPy
        return _encoder.encode
    chunks = json_encoder.c_make_encoder(
        None,
        _encoder.default,
        json_encoder.encode_basestring,
        None,
        ": ",
        ", ",
        False,
        False,
        False,
    )
    join = "".join
    return lambda plain: join(chunks(plain, 0))


_encode = _fast_encoder()
