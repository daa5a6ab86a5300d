#!/usr/bin/env bash
# Builds attune and runs its tests, from a bare machine: installs what is missing (Debian, Ubuntu), configures, builds,
# runs ctest. What each stage is for stands in .ci/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

usage() {
  cat <<'USAGE'
usage: scripts/test.sh [--quick] [--full] [--strict]
  (nothing)  the Release build with all tests, then the core suites under AddressSanitizer and UBSan
  --quick    only the Release build with all tests
  --full     adds clang++, ThreadSanitizer, the full corpora and randomised shapes, and attune::cuda where nvcc is
  --strict   warnings are errors
USAGE
}

quick=no full=no strict=OFF
for argument in "$@"; do
  case "$argument" in
    --quick) quick=yes ;;
    --full) full=yes ;;
    --strict) strict=ON ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

packages=(g++ cmake ninja-build ccache python3 libeigen3-dev nlohmann-json3-dev libpcre2-dev doctest-dev libcli11-dev)
[ $full = yes ] && packages+=(clang)
install_missing "${packages[@]}"
choose_compiler

jobs=${ATTUNE_JOBS:-$(nproc)}
failed=()
# stage PRESET [OPTION ...]: configures, builds and tests it; a failed one is remembered and the next goes on.
stage() {
  local preset=$1 begin=$SECONDS
  shift
  printf '\n=== %s: configure and build\n' "$preset"
  if cmake --preset "$preset" -DATTUNE_WERROR=$strict "$@" && cmake --build --preset "$preset" -j "$jobs" &&
      printf '\n=== %s: test\n' "$preset" && ctest --preset "$preset" -j "$jobs"; then
    printf '=== %s: passed in %d s\n' "$preset" $((SECONDS - begin))
  else
    printf '=== %s: FAILED after %d s\n' "$preset" $((SECONDS - begin))
    failed+=("$preset")
  fi
}

[ $full = yes ] && export ATTUNE_FULL=1
sanitized="core;formats;text;data;tensor;autograd;io;backend;ops;nn;optim;metrics;models;peft;generation;train"
stage default
if [ $full = yes ]; then
  stage asan-ubsan -DATTUNE_COMPILED_UNITS= "-DATTUNE_TEST_AREAS=$sanitized"
  stage clang
  stage tsan
  if command -v nvcc >/dev/null; then stage cuda; fi
elif [ $quick = no ]; then
  stage asan-ubsan
fi

if [ ${#failed[@]} -gt 0 ]; then
  echo "Failed: ${failed[*]}"
  exit 1
fi
echo "All passed."
