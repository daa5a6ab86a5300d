#!/usr/bin/env python3
"""Checks that code which must not compile is refused, for the right reason and in few lines.

A case is a .cpp file with
    // expect: <part of the diagnostic>       one or more; every one must appear ("a|b": either, as compilers differ)
    // max-errors: <N>                        optional, at most N error lines (2 when not said)
and two variants: without CONTROL it must fail; with -DCONTROL it must compile, so that nothing but the line between
#ifdef CONTROL and #else is what the compiler refuses.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

MAX_ERRORS = 2
# A person reads this much; a wall of template notes is no message.
MAX_LINES = 40


def compile_case(command, case, *flags):
    plain_quotes = {**os.environ, "LC_ALL": "C"}
    return subprocess.run([*command, *flags, str(case)], capture_output=True, text=True, env=plain_quotes)


def problems_of(command, case):
    text = case.read_text()
    expected = [found.strip() for found in re.findall(r"^// expect:(.*)$", text, re.M)]
    if not expected:
        return ["has no '// expect:' line"]
    limit = re.search(r"^// max-errors:\s*(\d+)\s*$", text, re.M)
    max_errors = int(limit.group(1)) if limit else MAX_ERRORS

    if "CONTROL" not in text:
        return ["has no CONTROL variant"]
    control = compile_case(command, case, "-DCONTROL")
    if control.returncode != 0:
        return ["does not compile with -DCONTROL, so it cannot show why it fails:\n" + control.stderr]
    result = compile_case(command, case)
    if result.returncode == 0:
        return ["compiles, and must not"]
    problems = [f"expected the message '{part}'" for part in expected
                if not any(choice in result.stderr for choice in part.split("|"))]
    errors = len(re.findall(r"\berror: ", result.stderr))
    lines = len(result.stderr.splitlines())
    if errors > max_errors:
        problems.append(f"{errors} errors, at most {max_errors} allowed")
    if lines > MAX_LINES:
        problems.append(f"{lines} lines of diagnostics, at most {MAX_LINES} allowed")
    if problems:
        problems.append("the compiler said:\n" + result.stderr)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", required=True, help="the folder of the .cpp files")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--isystem", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()

    command = [args.compiler, "-std=c++20", "-pthread", "-fsyntax-only"]
    command += [f"-I{folder}" for folder in args.include]
    command += [f"-isystem{folder}" for folder in args.isystem if folder != "/usr/include"]
    cases = sorted(pathlib.Path(args.cases).glob("*.cpp"))
    if not cases:
        sys.exit(f"no cases in {args.cases}")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for case, problems in zip(cases, pool.map(lambda case: problems_of(command, case), cases)):
            failed += bool(problems)
            print(f"{'FAILED' if problems else 'ok    '} {case.name}")
            for problem in problems:
                print("  " + problem)
    print(f"{len(cases)} cases with {args.compiler}: {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
