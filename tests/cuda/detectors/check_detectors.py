#!/usr/bin/env python3
"""Runs the sample kernels as they should be, which must be clean in every build and schedule, and then with each planted
defect, which the detector named for it must find with the right message. Exits 1 when one is missed.

    check_detectors.py FOLDER       with the programs detectors_plain, detectors_asan, detectors_tsan
"""
import os
import pathlib
import re
import subprocess
import sys

SCHEDULES = ["", "depth", "reverse", "eager", "seed=1", "seed=2", "depth seed=3"]

# defect | build | schedule | exit code | what the output must contain
MATRIX = """
missing_sync         | tsan  |                | 66 | data race .*common.cuh
missing_sync         | plain | depth          | 1  | WRONG
missing_sync         | plain | depth seed=5   | 1  | WRONG
missing_sync_tiles   | tsan  |                | 66 | data race .*flash_attention.cuh
missing_sync_tiles   | plain |                | 1  | flash o .*WRONG
race_between_blocks  | tsan  |                | 66 | data race .*layer_norm.cuh
race_between_blocks  | tsan  | depth seed=2   | 66 | data race .*layer_norm.cuh
missing_fence        | tsan  |                | 66 | data race .*layer_norm.cuh
misplaced_fence      | tsan  |                | 66 | data race .*layer_norm.cuh
write_past_end       | plain |                | 4  | DETECTED: out of bounds: write
write_past_end       | asan  |                | 4  | DETECTED: out of bounds: write
write_past_end       | tsan  |                | 4  | DETECTED: out of bounds: write
read_past_end        | plain |                | 4  | DETECTED: out of bounds: read
shared_past_end      | asan  |                | 1  | heap-buffer-overflow
uninitialised_shared | plain |                | 1  | WRONG
uninitialised_shared | tsan  |                | 66 | data race .*common.cuh
misaligned_vector    | plain |                | 4  | DETECTED: 16-byte access to a misaligned
divergent_barrier    | plain |                | 4  | DETECTED: divergent barrier
divergent_barrier    | plain | depth reverse  | 4  | DETECTED: divergent barrier
divergent_barrier    | tsan  |                | 4  | DETECTED: divergent barrier
early_exit           | plain |                | 4  | DETECTED: .*barrier after 64 thread
early_exit           | plain | depth          | 4  | DETECTED: thread exits while
lane_missing         | plain |                | 4  | DETECTED: .*(deadlock|other lanes)
lane_missing         | plain | depth          | 4  | DETECTED: .*(deadlock|other lanes)
ragged_block         | plain |                | 4  | DETECTED: .*lanes that do not exist
missing_copy_wait    | plain |                | 1  | flash o .*WRONG
stack_overflow       | plain |                | 86 | DETECTED stack overflow
host_dereference     | plain |                | 86 | DETECTED host touches device memory: read
host_argument        | plain |                | 4  | DETECTED: host pointer
freed_argument       | plain |                | 4  | DETECTED: freed device pointer
double_free          | plain |                | 3  | DETECTED free of an unknown
copy_past_end        | plain |                | 4  | DETECTED: copy: past the end
too_much_shared      | plain |                | 3  | CUDA error 1$
read_before_sync     | plain |                | 1  | WRONG
missing_event        | plain |                | 1  | WRONG
"""


def run(folder, build, words):
    environment = dict(os.environ)
    environment["TSAN_OPTIONS"] = "halt_on_error=1 exitcode=66 atexit_sleep_ms=0 report_signal_unsafe=0"
    result = subprocess.run([folder / f"detectors_{build}", *words], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=120, check=False, errors="replace")
    return result.returncode, result.stdout


def main():
    folder = pathlib.Path(sys.argv[1])
    problems = count = 0
    for build in ("plain", "asan", "tsan"):
        for case in [f"good {schedule}" for schedule in SCHEDULES] + ["recovery"]:
            count += 1
            code, output = run(folder, build, case.split())
            if code != 0:
                problems += 1
                print(f"{build} {case}: exit {code} where all is well\n{output[:2000]}")
    for line in MATRIX.strip().splitlines():
        defect, build, schedule, code, pattern = (part.strip() for part in line.split("|", 4))
        count += 1
        found, output = run(folder, build, [defect, *schedule.split()])
        if found != int(code) or not re.search(pattern, output, re.MULTILINE):
            problems += 1
            print(f"MISSED {defect} ({build} {schedule}): exit {found}, wanted {code} and /{pattern}/\n{output[:1500]}")
    print(f"{count - problems} of {count} as they should be")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
