"""python -m seq.report RUN [RUN ...]: a report of one run, or of several side by side, as one HTML file."""

import argparse
import sys
from pathlib import Path

from seq.command_line import answer_help, exit_code

PARSER = argparse.ArgumentParser(prog="python -m seq.report", description=__doc__)
PARSER.add_argument("run", nargs="+", type=Path, help="run directories, such as runs/names")
PARSER.add_argument("--output", type=Path, metavar="FILE", help="default: report.html in the (first) run directory")
answer_help(__file__, PARSER)  # before the imports below, which take seconds

from seq.report import write_report


def main(arguments: list[str]) -> None:
    options = PARSER.parse_args(arguments)
    print(write_report(options.run, options.output))


if __name__ == "__main__":
    sys.exit(exit_code(lambda: main(sys.argv[1:])))
