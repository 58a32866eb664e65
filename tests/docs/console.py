"""Reads the examples of a Markdown page: commands with what they print, and Python."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A command and the output that the page promises; ``...`` stands for anything."""

    command: str
    output: str

    def matches(self, printed: str) -> bool:
        """Whether the promised lines are what was printed, from the start."""
        parts = [re.escape(part) for part in self.output.strip().split("...")]
        return re.match(".*?".join(parts), printed.strip(), re.DOTALL) is not None


def fences(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks in one language."""
    return [body for kind, body in _FENCE.findall(page.read_text("utf-8")) if kind == language]


def examples(page: Path) -> list[Example]:
    """The commands of a page in order; a line that begins with ``$`` is a command."""
    found: list[Example] = []
    for body in fences(page, "console"):
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append(Example(line[2:], ""))
            else:
                last = found.pop()
                found.append(Example(last.command, f"{last.output}{line}\n"))
    return found
