"""The Python examples of pages written in Markdown, made quick."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Enough records for calibrated bands, and for fits alone.
_TRAINED, _FITTED = 500, 40


def python_blocks(page: Path) -> list[str]:
    """Return the Python code blocks of a page, in order."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def quick(code: str, records: int = _TRAINED) -> str:
    """Return the code with fewer records, training steps and draws, otherwise as printed."""
    code = re.sub(r"\b[1-9]\d?_?000\b", str(records), code)
    # Training that draws weights has a seed; the information head only takes moments, in no steps.
    code = re.sub(
        r"(wp\.train\(.*seed=\d+)\)$", r"\1, steps=10, progress=False)", code, flags=re.MULTILINE
    )
    return re.sub(
        r"(wp\.forecast\(.*)\)$", r"\1, draws=20, progress=False)", code, flags=re.MULTILINE
    )


def run(page: Path, blocks: list[str]) -> None:
    """Run code blocks one after the other, as a reader of the page would."""
    names = {"__name__": "__main__"}
    records = _TRAINED if any("wp.train(" in block for block in blocks) else _FITTED
    for number, block in enumerate(blocks):
        code = compile(quick(block, records), f"{page.name}, block {number}", "exec")
        exec(code, names)
