"""`python -m throttling`: review the limits of a stack, and simulate what they do."""

import sys

from throttling.cli import main

sys.exit(main())
