"""Reads damaged texts in a process that may not grow by 100 MB; prints as JSON how it went.

python mutants.py COUNT SEED
"""

import base64
import json
import random
import resource
import sys
import time
from pathlib import Path

from liteq.errors import UnreadablePayload
from liteq.laravel.phpserialize import PhpObject, dumps, loads
from liteq.laravel.plain import plain, properties

ROOM = 100 * 1024 * 1024  # bytes
TOKENS = [*b'abdirsNOCESR:;"{}0129-+.', *(b"\0\x7f\x80\xff")]
BITS = [b"r:1;", b"R:1;", b"R:2;", b"a:9:{", b'O:1:"A":1:{', b"i:0;", b'S:1:"\\41";', b"d:NAN;",
        b'E:3:"A:B";', b'C:1:"A":2:{xx}', b"99999999999999999999", b"N;", b"}"]  # fmt: skip


def main(count, seed):
    vectors = json.loads(Path(__file__).with_name("php_serialize_vectors.json").read_text("utf-8"))
    texts = [
        base64.b64decode(v["serialized_b64"]) for v in vectors["vectors"] if "serialized_b64" in v
    ]
    chance = random.Random(seed)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    read, worst = 0, 0.0
    for _ in range(count):
        text = mutant(chance.choice(texts), texts, chance)
        began = time.perf_counter()
        try:
            value = loads(text)
        except UnreadablePayload:
            pass
        else:
            read += 1
            loads(dumps(value))
            plain(value)
            if type(value) is PhpObject:
                properties(value)
        worst = max(worst, time.perf_counter() - began)
    print(json.dumps({"read": read, "worst": worst}))


def mutant(text, texts, chance):
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5))):
        text = chance.choice(WAYS)(bytearray(text), texts, chance)
    return bytes(text)


def flip(text, texts, chance):
    if text:
        text[chance.randrange(len(text))] ^= 1 << chance.randrange(8)
    return text


def replace(text, texts, chance):
    if text:
        text[chance.randrange(len(text))] = chance.choice(TOKENS)
    return text


def cut(text, texts, chance):
    start = chance.randrange(len(text) + 1)
    del text[start : start + chance.choice((1, 2, 10, 1000))]
    return text


def splice(text, texts, chance):
    other = chance.choice(texts)
    return text[: chance.randrange(len(text) + 1)] + other[chance.randrange(len(other)) :]


def insert(text, texts, chance):
    at = chance.randrange(len(text) + 1)
    text[at:at] = chance.choice(BITS)
    return text


def repeat(text, texts, chance):
    start = chance.randrange(len(text) + 1)
    part = text[start : start + chance.randrange(30)]
    text[start:start] = part * chance.randrange(4)
    return text


def recount(text, texts, chance):
    digits = [at for at, byte in enumerate(text) if 48 <= byte <= 57]
    if digits:
        at = chance.choice(digits)
        text[at : at + 1] = str(chance.choice((0, 1, 2, 9, 10, 255, 256, 10**9, -1))).encode()
    return text


WAYS = (flip, replace, cut, splice, insert, repeat, recount)

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
