"""The configuration reference, from the code: python -m seq.reference > docs/configuration.md"""

import sys

from seq.command_line import exit_code
from seq.config import Config
from seq.config.section import describe_keys

HEAD = """# Configuration

Every key, its default and its meaning; `python train_ddp.py --help` prints the same. A config file holds these sections as
YAML; on the command line a key is written `section.key=value`, and overrides the file. Keys of `model` depend on
`model.kind`. Made by `python -m seq.reference`; a test compares it with the code.
"""


def reference() -> str:
    """As Markdown, a table for each section."""
    parts = [HEAD]
    for section in Config.model_fields:
        own = [entry for entry in describe_keys(Config) if entry[0].startswith(f"{section}.")]
        rows = "\n".join(f"| `{key}` | `{default}` | {_cell(meaning)} |" for key, default, meaning in own)
        parts.append(f"## {section}\n\n| key | default | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(exit_code(lambda: print(reference(), end="")))
