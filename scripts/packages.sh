# shellcheck shell=bash
# Sourced by the other scripts: install_missing PACKAGE... installs what is missing of a list of Debian packages.

# True when PACKAGE is installed, or, for a tool, when some other build of it is on the PATH.
have_package() {
  case "$1" in
    g++ | cmake | ccache | python3 | unzip) command -v "$1" >/dev/null ;;
    clang) command -v clang++ >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    python3-pip) python3 -m pip --version >/dev/null 2>&1 ;;
    *) dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q ' installed$' ;;
  esac
}

install_missing() {
  local package missing=()
  for package in "$@"; do
    have_package "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  if ! command -v apt-get >/dev/null; then
    echo "These are missing and apt-get is not here to install them (Debian's names): ${missing[*]}" >&2
    return 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
    command -v sudo >/dev/null || { echo "Install as root: apt-get install ${missing[*]}" >&2; return 1; }
  fi
  echo "Installing ${missing[*]}"
  "${as_root[@]}" apt-get -q=2 update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -q=2 -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

# Sets CXX to a compiler of version 12 or later when the default g++ is older (Ubuntu 22.04).
choose_compiler() {
  [ -n "${CXX:-}" ] && return
  [ "$(g++ -dumpversion | cut -d. -f1)" -ge 12 ] && return
  install_missing g++-12
  export CXX=g++-12
}
