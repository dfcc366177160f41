"""PHP tokens: a PHP file's text, cut into words, strings, numbers and signs. Pure.

White space and comments are gone; every bracket knows its partner. What the tokens mean is
phpconfig's business.
"""

import re
from bisect import bisect_right

_LARGEST = 2_000_000  # characters; a cached configuration of a large project has 300,000
_OPEN = re.compile(r"<\?php(?=\s|\Z)", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
      (?P<blank> \s+ | (?: \#(?!\[) | // ) (?: (?!\?>) [^\r\n] )* | /\* .*? \*/ )
    | (?P<heredoc> <<<[ \t]* (?P<quote>["']?) (?P<tag>[^\W\d]\w*) (?P=quote) [ \t]* \r?\n )
    | (?P<string> '[^'\\]*(?:\\.[^'\\]*)*' | "[^"\\]*(?:\\.[^"\\]*)*" | `[^`\\]*(?:\\.[^`\\]*)*` )
    | (?P<unclosed> ['"`] | /\* )
    | (?P<number> 0[xX][0-9a-fA-F_]+ | 0[bB][01_]+ | 0[oO][0-7_]+
        | (?: [0-9][0-9_]* \.? [0-9_]* | \.[0-9][0-9_]* ) (?: [eE][+-]?[0-9]+ )? )
    | (?P<variable> \$ [^\W\d]\w* )
    | (?P<word> \\? [^\W\d]\w* (?: \\ [^\W\d]\w* )* )
    | (?P<sign> \?\?= | \?-> | === | !== | <=> | \*\*= | \.\.\. | <<= | >>= | && | \|\| | \?\? | ==
        | != | <> | <= | >= | => | -> | :: | \*\* | \+\+ | -- | [-+*/.%&|^]= | << | >> | \?> | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_PARTNERS = {")": "(", "]": "[", "}": "{"}


class Tokens:
    """The tokens of one file, by number. Past the last one, `kind` is "end" and `text` is ""."""

    def __init__(self, text: str, file: str) -> None:
        """Raises ValueError naming the file and the line where the text is no PHP."""
        self.file = file
        self._text = text
        self._breaks = [found.start() for found in re.finditer("\n", text)]
        self._kinds: list[str] = []
        self._spans: list[tuple[int, int]] = []
        self._partners: dict[int, int] = {}
        if len(text) > _LARGEST:
            raise ValueError(f"{file} is larger than any configuration: {len(text)} characters")
        self._cut()
        self._pair()

    def __len__(self) -> int:
        return len(self._kinds)

    def kind(self, at: int) -> str:
        """What the token is: "string", "number", "variable", "word", "sign" or "end"."""
        return self._kinds[at] if at < len(self._kinds) else "end"

    def text(self, at: int) -> str:
        """The token as it is written."""
        return self._text[slice(*self._spans[at])] if at < len(self._spans) else ""

    def word(self, at: int) -> str:
        """The word in small letters; "" when it is none."""
        return self.text(at).lower() if self.kind(at) == "word" else ""

    def partner(self, at: int) -> int:
        """The bracket that closes this one; a token that opens nothing is its own partner."""
        return self._partners.get(at, at)

    def line(self, at: int) -> int:
        """The token's line, from 1."""
        return self._line(self._spans[at][0] if self._spans else 0)

    def source(self, first: int, last: int, most: int) -> str:
        """What is written from one token to another, on one line; at most so many characters."""
        start, end = self._spans[first][0], self._spans[max(first, min(last, len(self) - 1))][1]
        return " ".join(self._text[start : min(end, start + most)].split())

    def _cut(self) -> None:
        found = _OPEN.search(self._text)
        if found is None or self._text[: found.start()].strip("\ufeff \t\r\n"):
            raise ValueError(f"{self.file}:1: a PHP file has to begin with <?php")
        at = found.end()
        while at < len(self._text):
            token = _TOKEN.match(self._text, at)
            assert token is not None  # a sign is any character
            kind = token.lastgroup or ""
            end = token.end()
            if token["unclosed"]:
                what = "comment" if token["unclosed"] == "/*" else "string"
                raise ValueError(f"{self.file}:{self._line(at)}: a {what} is never closed")
            if token["heredoc"]:
                kind, end = "string", self._heredoc_end(at, token["tag"], end)
            if kind == "sign" and token["sign"] == "?>":
                break
            if kind != "blank":
                self._kinds.append(kind)
                self._spans.append((at, end))
            at = end

    def _heredoc_end(self, start: int, tag: str, body: int) -> int:
        closing = re.compile(rf"^[ \t]*{tag}\b", re.MULTILINE).search(self._text, body)
        if closing is None:
            raise ValueError(f"{self.file}:{self._line(start)}: a string is never closed")
        return closing.end()

    def _pair(self) -> None:
        opened: list[int] = []
        for at, kind in enumerate(self._kinds):
            sign = self.text(at) if kind == "sign" else ""
            if sign in ("(", "[", "{"):
                opened.append(at)
            elif sign in _PARTNERS:
                if not opened or self.text(opened[-1]) != _PARTNERS[sign]:
                    raise ValueError(
                        f"{self.file}:{self.line(at)}: `{sign}` comes without its opening bracket"
                    )
                self._partners[opened.pop()] = at
        if opened:
            raise ValueError(
                f"{self.file}:{self.line(opened[0])}: `{self.text(opened[0])}` is never closed"
            )

    def _line(self, position: int) -> int:
        return bisect_right(self._breaks, position - 1) + 1
