"""PHP as judge: what it makes of .env files, names, expressions and whole configuration files."""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

_JUDGE = Path(__file__).with_name("php") / "judge.php"
_ASKS = 'exit(stream_resolve_include_path("Illuminate/autoload.php") ? 0 : 1);'


@functools.cache
def there():
    """Whether there is a PHP with Laravel's classes."""
    php = shutil.which("php")
    return php is not None and subprocess.run([php, "-r", _ASKS], check=False).returncode == 0


def judge(what, items, env=()):
    """For each item what PHP makes of it, as (True, value), or (False, the error's class)."""
    asked = {"what": what, "items": items, "env": dict(env)}
    done = subprocess.run(
        ["php", str(_JUDGE)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    return [tuple(answer) for answer in json.loads(done.stdout)]
