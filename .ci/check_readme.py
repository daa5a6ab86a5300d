#!/usr/bin/env python3
"""Checks that the README says what is there: its program is the first example, and its scripts and links exist."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent).resolve()
EXAMPLE = ROOT / "examples/finetune_bert.cpp"


def problems_of(readme):
    program = re.search(r"^```cpp\n(.*?)^```$", readme, re.M | re.S)
    if not program:
        yield "README.md shows no program"
    elif not EXAMPLE.is_file():
        yield "README.md shows a program, and examples/finetune_bert.cpp is not there"
    elif program.group(1).strip() != EXAMPLE.read_text().strip():
        yield "README.md's program is not examples/finetune_bert.cpp word for word"
    for script in re.findall(r"^\./(\S+)", readme, re.M):
        if not (ROOT / script).is_file():
            yield f"README.md calls {script}, which is not there"
    prose = re.sub(r"^```.*?^```$", "", readme, flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#:]+)\)", prose):
        if not (ROOT / link).exists():
            yield f"README.md links to {link}, which is not there"


def main():
    found = list(problems_of((ROOT / "README.md").read_text()))
    print("\n".join(found) or "README.md says what is there")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
