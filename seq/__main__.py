"""python -m seq COMMAND: the same as lockstep COMMAND."""

import sys

from seq.commands import main

sys.exit(main())
