"""`python -m liteq` is the command `liteq`."""

import sys

from liteq.cli import main

if __name__ == "__main__":
    sys.exit(main())
