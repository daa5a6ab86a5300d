#!/usr/bin/env python3
"""Shows that check_compile_fail.py refuses bad cases and accepts a good one."""
import pathlib
import subprocess
import sys
import tempfile

SCRIPT = pathlib.Path(__file__).with_name("check_compile_fail.py")

CASES = {
    "good": ("""// expect: only whole numbers
template <class T> void f(T) { static_assert(__is_same(T, int), "only whole numbers"); }
#ifdef CONTROL
int main() { f(1); }
#else
int main() { f(1.0); }
#endif
""", None),
    "compiles": ("// expect: x\n#ifdef CONTROL\n#endif\nint main() {}\n", "compiles, and must not"),
    "other_message": ("// expect: only whole numbers\n#ifndef CONTROL\nint x = nothing;\n#endif\n",
                      "expected the message 'only whole numbers'"),
    "broken_control": ("// expect: nothing\nint x = nothing;  // with or without CONTROL\n",
                       "does not compile with -DCONTROL"),
    "no_control": ("// expect: nothing\nint x = nothing;\n", "has no CONTROL variant"),
    "no_expectation": ("#ifndef CONTROL\nint x = nothing;\n#endif\n", "has no '// expect:' line"),
    "many_errors": ("// expect: nothing\n#ifndef CONTROL\nint x = nothing;\nint y = nothing;\nint z = nothing;\n#endif\n",
                    "3 errors, at most 2 allowed"),
}


def main():
    for name, (text, complaint) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / f"{name}.cpp").write_text(text)
            result = subprocess.run([sys.executable, SCRIPT, "--cases", folder, "--compiler", sys.argv[1]],
                                    capture_output=True, text=True)
        wanted = 0 if complaint is None else 1
        if result.returncode != wanted or (complaint and complaint not in result.stdout):
            sys.exit(f"case {name}: expected exit {wanted} and '{complaint}', found exit {result.returncode}:\n"
                     f"{result.stdout}{result.stderr}")


main()
