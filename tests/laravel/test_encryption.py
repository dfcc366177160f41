"""What Laravel encrypts and decrypts, by Laravel's own Encrypter."""

import base64
import builtins
import hashlib
import hmac
import json
import subprocess
import sys
from pathlib import Path

import pytest
from artisan import APP_KEY
from hypothesis import given
from hypothesis import strategies as st

from liteq.errors import UnreadablePayload
from liteq.laravel.encryption import Encrypter
from liteq.laravel.phpserialize import dumps, loads
from liteq.laravel.plain import job, properties

RAW = b"0123456789abcdef0123456789abcdef"
IV = base64.b64encode(b"i" * 16).decode()
CIPHERS = {"AES-128-CBC": 16, "AES-256-CBC": 32, "AES-128-GCM": 16, "AES-256-GCM": 32}
VECTORS = [
    each
    for each in json.loads(
        Path(__file__).with_name("php_serialize_vectors.json").read_text("utf-8")
    )["vectors"]
    if "token" in each
]


def parts(token):
    return json.loads(base64.b64decode(token))


def token(**said):
    return base64.b64encode(json.dumps(said).encode()).decode()


@pytest.fixture
def laravels(php):
    """`laravels(cipher, "encryptString", text)`: Laravel's Encrypter with that cipher."""

    def ask(cipher, does, text):
        key, text = RAW[: CIPHERS[cipher]].hex(), text.encode().hex()
        box = f"new Illuminate\\Encryption\\Encrypter(hex2bin('{key}'), '{cipher}')"
        return php.evaluate(f"return ({box})->{does}(hex2bin('{text}'));")

    return ask


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("text", ["", "x", "sixteen bytes ..", "Zürich 🎉" * 100])
def test_laravel_reads_what_is_encrypted(laravels, cipher, text):
    made = Encrypter(RAW[: CIPHERS[cipher]], cipher=cipher).encrypt(text.encode())

    assert laravels(cipher, "decryptString", made) == text


@pytest.mark.parametrize("cipher", CIPHERS)
@pytest.mark.parametrize("text", ["", "x", "sixteen bytes ..", "Zürich 🎉" * 100])
def test_what_laravel_encrypts_is_read(laravels, cipher, text):
    made = laravels(cipher, "encryptString", text)

    assert Encrypter(RAW[: CIPHERS[cipher]], cipher=cipher).decrypt(made) == text.encode()


def test_an_encrypted_job_is_read_and_written_as_laravel_does(php):
    ours = Encrypter(APP_KEY)
    command = dumps(job("App\\Jobs\\X", {"card": "4242"}))

    theirs = php.encrypt(command)

    assert properties(loads(ours.decrypt_job(theirs))) == {"card": "4242"}
    assert php.decrypt(ours.encrypt_job(command)) == command.decode()
    assert php.decrypt(ours.encrypt_job(command.decode())) == command.decode()


def test_a_token_looks_as_laravel_writes_it(php):
    ours, theirs = parts(Encrypter(APP_KEY).encrypt(b"x")), parts(php.encrypt("x", False))

    assert list(ours) == list(theirs) == ["iv", "value", "mac", "tag"]
    assert {name: len(text) for name, text in ours.items()} == {
        name: len(text) for name, text in theirs.items()
    }


@pytest.mark.parametrize("each", VECTORS, ids=lambda each: each["name"])
def test_newer_laravels_tokens_are_read(each):
    found = Encrypter(RAW, cipher=each["cipher"]).decrypt(each["token"])

    assert found.decode() == each["plaintext_inside"]


def test_a_token_without_a_tag_is_read():
    made = parts(Encrypter(RAW).encrypt(b"x"))
    del made["tag"]  # as Laravel wrote them before 8.54

    assert Encrypter(RAW).decrypt(token(**made)) == b"x"


@given(text=st.binary(max_size=100))
def test_bytes_come_back_as_they_were(text):
    for cipher, size in CIPHERS.items():
        box = Encrypter(RAW[:size], cipher=cipher)

        assert box.decrypt(box.encrypt(text)) == text


def test_job_texts_that_are_no_utf8_come_back():
    box = Encrypter(RAW)

    assert box.decrypt_job(box.encrypt_job(b's:1:"\xff";')) == b's:1:"\xff";'


# Keys


def test_a_key_is_bytes_or_text_as_in_env():
    made = Encrypter(RAW).encrypt(b"x")

    for key in (RAW, RAW.decode(), APP_KEY, APP_KEY.encode()):
        assert Encrypter(key).decrypt(made) == b"x"
    assert Encrypter(RAW, cipher="aes-256-cbc").decrypt(made) == b"x"


@pytest.mark.parametrize("cipher", CIPHERS)
def test_previous_keys_read_what_they_encrypted(cipher):
    size = CIPHERS[cipher]
    old, older, new = b"o" * size, b"a" * size, b"n" * size
    made = Encrypter(old, cipher=cipher).encrypt(b"x")

    assert Encrypter(new, [older, old], cipher=cipher).decrypt(made) == b"x"
    with pytest.raises(UnreadablePayload, match=r"APP_KEY does not fit.*2 tried.*PREVIOUS_KEYS"):
        Encrypter(new, [older], cipher=cipher).decrypt(made)
    with pytest.raises(UnreadablePayload, match="APP_KEY does not fit"):
        Encrypter(old, cipher=cipher).decrypt(Encrypter(new, [old], cipher=cipher).encrypt(b"x"))


@pytest.mark.parametrize(
    ("key", "previous", "cipher", "message"),
    [
        (RAW[:16], (), "AES-256-CBC", "APP_KEY has 16 bytes, and AES-256-CBC takes 32"),
        (RAW, (), "AES-128-GCM", "APP_KEY has 32 bytes, and AES-128-GCM takes 16"),
        (RAW, (RAW[:5],), "AES-256-CBC", "a previous key has 5 bytes"),
        ("", (), "AES-256-CBC", "APP_KEY has 0 bytes"),
        ("base64:?", (), "AES-256-CBC", "APP_KEY is not Base64"),
        (RAW, (), "DES", "cipher='DES' is none of Laravel's"),
    ],
)
def test_a_key_that_does_not_fit_the_cipher_is_refused(key, previous, cipher, message):
    with pytest.raises(ValueError, match=message):
        Encrypter(key, previous, cipher)


def test_a_fault_of_a_key_does_not_show_it():
    with pytest.raises(ValueError) as told:
        Encrypter("base64:c2VjcmV0LXNlY3JldA==")

    assert "c2Vjcm" not in str(told.value)
    assert "secret" not in str(told.value)


def test_without_cryptography_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("cryptography"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "liteq\[laravel\]"'):
        Encrypter(RAW)


def test_the_module_can_be_had_without_cryptography():
    code = "import liteq.laravel.encryption, sys; sys.exit('cryptography' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Faults


@pytest.mark.parametrize(
    ("cipher", "part"),
    [
        (cipher, part)
        for cipher in CIPHERS
        for part in ("iv", "value", "tag" if "GCM" in cipher else "mac")
    ],
)
def test_a_token_that_was_changed_is_refused(cipher, part):
    box = Encrypter(RAW[: CIPHERS[cipher]], cipher=cipher)
    made = parts(box.encrypt(b"x" * 20))
    first = "A" if made[part][0] != "A" else "B"

    with pytest.raises(UnreadablePayload, match="APP_KEY does not fit"):
        box.decrypt(token(**{**made, part: first + made[part][1:]}))


@pytest.mark.parametrize("value", ["", "eA==", base64.b64encode(b"x" * 16).decode()])
def test_what_is_signed_but_was_never_encrypted_is_refused(value):
    mac = hmac.new(RAW, (IV + value).encode(), hashlib.sha256).hexdigest()

    with pytest.raises(UnreadablePayload, match="APP_KEY does not fit"):
        Encrypter(RAW).decrypt(token(iv=IV, value=value, mac=mac))


def test_a_tag_in_the_wrong_place_is_refused():
    made = parts(Encrypter(RAW, cipher="AES-256-GCM").encrypt(b"x"))
    both = base64.b64decode(made["value"]) + base64.b64decode(made["tag"])
    made |= {"value": base64.b64encode(both).decode(), "tag": ""}

    with pytest.raises(UnreadablePayload, match="APP_KEY does not fit"):
        Encrypter(RAW, cipher="AES-256-GCM").decrypt(token(**made))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64",
        "é",
        'O:8:"stdClass":0:{}',
        base64.b64encode(b"no JSON").decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b"5").decode(),
        token(iv=IV, value="eA=="),
        token(iv=5, value="eA==", mac="m"),
        token(iv=IV, value="?", mac="m"),
        token(iv=IV, value="eA==", mac=None),
        token(iv=IV, value=None, mac="m"),
        token(iv=IV, value="eA==", mac="m", tag=[1]),
    ],
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(UnreadablePayload, match="no encrypted text of Laravel's"):
        Encrypter(RAW).decrypt(text)


def test_a_token_of_another_cipher_is_refused_naming_it():
    made = Encrypter(RAW, cipher="AES-256-GCM").encrypt(b"x")

    with pytest.raises(
        UnreadablePayload, match=r"another cipher: its iv has 12 bytes.*app\.cipher"
    ):
        Encrypter(RAW).decrypt(made)


def test_what_was_encrypted_but_is_no_job_is_refused():
    box = Encrypter(RAW)

    with pytest.raises(UnreadablePayload, match="decrypted to a int, where a job's text belongs"):
        box.decrypt_job(box.encrypt(b"i:5;"))
    with pytest.raises(UnreadablePayload, match="no PHP serialize text"):
        box.decrypt_job(box.encrypt(b"text"))
