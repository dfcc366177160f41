"""Times: seconds since the epoch ⇄ text. Pure; what time it is now is a broker's clock's business.

All text that is stored has one form, `2026-01-31T09:00:00.123456Z`: UTC, and sorted as text it is
sorted by time.
"""

import re
from datetime import datetime, timedelta, timezone

_LAST = 253402300799.0  # 9999-12-31T23:59:59Z, the last second that a datetime can say
_FINE = 4e9  # up to here (2096) a microsecond is more than a float's last two bits
_FIRST = -62135596800.0  # 0001-01-01T00:00:00Z
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- only ever added to, for text without a zone
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?\s?(?:([Zz])|([+-]\d\d):?(\d\d)?)?)?",
    re.ASCII,
)
_seconds_known: dict[str, str] = {}  # "1769850000" → "2026-01-31T09:00:00."


def stamp(seconds: float) -> str:
    """The stored text of this moment, to the microsecond.

    Raises ValueError for what lies outside of the years 1 to 9999.
    """
    try:  # some are made for every job, mostly within seconds that are known: 0.4 µs against 2 µs
        micros = str(int(seconds * 1e6 + 0.5))
        return f"{_seconds_known[micros[:-6]]}{micros[-6:]}Z"
    except (KeyError, ValueError, OverflowError):
        return _stamp(seconds)


def instant(text: str) -> float:
    """The moment that stored text tells; text without a zone, as SQL writes it, is UTC.

    Raises ValueError naming the text.
    """
    said = _read(text)
    if said.tzinfo is None:
        said = said.replace(tzinfo=timezone.utc)
    return said.timestamp()


def moment(run_at: datetime | str | timedelta, now: float) -> float:
    """The moment that a user means: a datetime, its ISO-8601 text, or a timedelta from `now`.

    Without a zone it is local time. Raises ValueError naming the value.
    """
    if isinstance(run_at, timedelta):
        seconds = now + run_at.total_seconds()
    elif isinstance(run_at, datetime):
        seconds = _seconds(run_at)
    elif isinstance(run_at, str):
        seconds = _seconds(_read(run_at))
    else:
        raise ValueError(f"{run_at!r} is no time; give a datetime, ISO-8601 text or a timedelta")
    if not _FIRST <= seconds <= _LAST:
        raise ValueError(f"{run_at!r} is not within the years 1 to 9999")
    return seconds


def _stamp(seconds: float) -> str:
    """`stamp` from scratch; a second of this age is known from then on."""
    if not _FIRST <= seconds <= _LAST:  # this way round it catches NaN as well
        raise ValueError(f"{seconds!r} seconds since 1970 is not within the years 1 to 9999")
    if not 1 <= seconds < _FINE:
        second, fraction = divmod(seconds, 1.0)
        moment = _EPOCH + timedelta(seconds=second, microseconds=round(fraction * 1e6))
        return moment.isoformat(timespec="microseconds") + "Z"
    if len(_seconds_known) >= 1000:
        _seconds_known.clear()
    # Rounded as `stamp` does it: two moments of one second must never change places.
    micros = str(int(seconds * 1e6 + 0.5))
    text = (_EPOCH + timedelta(seconds=int(micros[:-6]))).isoformat() + "."
    _seconds_known[micros[:-6]] = text
    return f"{text}{micros[-6:]}Z"


def _seconds(said: datetime) -> float:
    try:
        return said.timestamp()
    except (OverflowError, OSError, ValueError) as exc:  # local time at the ends of the calendar
        raise ValueError(f"{said!r} is not within the years 1 to 9999") from exc


def _read(text: str) -> datetime:
    """`datetime.fromisoformat`, as lenient in Python 3.10 as it became in 3.11."""
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time; write it like 2026-01-31T09:00:00Z")
    day, minute, second, fraction, zulu, hours, minutes = match.groups()
    zone = "+00:00" if zulu else f"{hours}:{minutes or '00'}" if hours else ""
    micros = (fraction or "0").ljust(6, "0")[:6]
    try:
        return datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}.{micros}{zone}")
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time: {exc}") from exc
