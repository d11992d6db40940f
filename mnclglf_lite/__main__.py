"""python -m mnclglf_lite COMMAND: see `cli.main`."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
