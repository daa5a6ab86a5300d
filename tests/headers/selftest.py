#!/usr/bin/env python3
"""Shows that check_headers.py notices what it is there for."""
import pathlib
import subprocess
import sys
import tempfile

SCRIPT = pathlib.Path(__file__).with_name("check_headers.py")
GOOD = "#pragma once\n#include <vector>\ninline int size(const std::vector<int>& v) { return int(v.size()); }\n"


def run(folder, compiler):
    result = subprocess.run([sys.executable, SCRIPT, "--include", folder, "--compiler", compiler, "--cache",
                             folder / "cache"], capture_output=True, text=True)
    return result.returncode, result.stdout


def expect(condition, what, output):
    if not condition:
        sys.exit(f"check_headers.py: {what}\n{output}")


def main():
    compiler = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        attune = folder / "attune"
        attune.mkdir()
        (attune / "good.hpp").write_text(GOOD)
        code, output = run(folder, compiler)
        expect(code == 0 and "1 compiled, 0 failed" in output, "a good header was refused", output)
        code, output = run(folder, compiler)
        expect(code == 0 and "0 compiled, 0 failed" in output, "an unchanged header was compiled again", output)

        (attune / "good.hpp").write_text(GOOD.replace("#include <vector>\n", ""))
        code, output = run(folder, compiler)
        expect(code == 1 and "FAILED attune/good.hpp" in output, "a missing include went unnoticed", output)
        code, output = run(folder, compiler)
        expect(code == 1, "a failed header was remembered as good", output)

        (attune / "good.hpp").write_text(GOOD)
        (attune / "warns.hpp").write_text("#pragma once\ninline int f(int unused) { return 0; }\n")
        code, output = run(folder, compiler)
        expect(code == 1 and "FAILED attune/warns.hpp" in output, "a warning went unnoticed", output)


main()
