"""The table of reason codes on docs/data.md is that of `aimass data check`."""

from aimass.data.checks import MEANINGS, STOPS, Code

from .console import ROOT


def test_every_reason_code_is_documented() -> None:
    rows = ["| code | meaning | stops a build |", "|---|---|---|"]
    rows += [
        f"| `{code}` | {MEANINGS[code]} | {'yes |' if code in STOPS else '|'}" for code in Code
    ]
    table = "\n".join(rows) + "\n\n"
    assert table in (ROOT / "docs/data.md").read_text("utf-8"), table
