"""`python -m ipt`: the same as the command `ipt`."""

import sys

from ipt.cli.app import main

sys.exit(main())
