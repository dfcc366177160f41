"""Slugs: what Laravel's Str::slug makes of a name. Pure.

Letters outside of ASCII are spelled by tables of the PHP package portable-ascii. Only those of
Western and Central Europe, which have been the same in all its versions, are known here.
"""

import re
import unicodedata

# Those that no accent tells apart from an ASCII letter.
_LETTERS = {
    "Æ": "AE", "æ": "ae", "Ð": "D", "ð": "d", "Đ": "D", "đ": "d", "Ø": "O", "ø": "o", "Þ": "TH",
    "þ": "th", "ß": "ss", "ı": "i", "Ł": "L", "ł": "l", "Œ": "OE", "œ": "oe",
}  # fmt: skip
_PUNCTUATION = dict.fromkeys("‘’‚‛“”„‟…", "") | {"–": "-", "—": "-", "\xa0": " "}
_REPLACED = _LETTERS | _PUNCTUATION
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def slug(title: str, separator: str = "-") -> str | None:
    """`slug("My App", "_")` is "my_app". None: a letter, or separator, that is not known here."""
    if separator not in ("-", "_"):
        return None
    text = _ascii(title)
    if text is None:
        return None
    text = text.replace("_" if separator == "-" else "-", separator)
    text = text.replace("@", f"{separator}at{separator}").lower()
    text = re.sub(rf"[^{separator}a-z0-9\s]+", "", text)
    return re.sub(rf"[{separator}\s]+", separator, text).strip(separator)


def _ascii(title: str) -> str | None:
    if title.isascii():
        return _CONTROL.sub("", title)
    letters = []
    for letter in title:
        plain = letter if letter.isascii() else _REPLACED.get(letter)
        if plain is None and "À" <= letter <= "ſ":
            plain = "".join(c for c in unicodedata.normalize("NFKD", letter) if c.isascii())
        if not plain and letter not in _REPLACED:
            return None
        letters.append(plain or "")
    return _CONTROL.sub("", "".join(letters))
