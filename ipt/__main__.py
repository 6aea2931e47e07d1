"""`python -m ipt`: the same as the command `ipt`."""

import sys

from ipt.cli import main

sys.exit(main())
