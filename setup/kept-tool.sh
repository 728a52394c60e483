# For the scripts beside this one: finds a tool of cargo's, in PATH or kept outside the repository, in
# ${XDG_CACHE_HOME:-$HOME/.cache}/descry. Building one takes minutes, so that is done only when asked for, with
# DESCRY_INSTALL_TOOLS=1, and then once. Where there is none, a line that begins with SKIPPED says so and the script ends.
#
#   find_tool NAME VERSION, which sets $tool

skip() {
  echo "SKIPPED $1: $2"
}

find_tool() {
  local name=$1 version=$2
  local kept=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/descry/$name/$version
  if command -v "$name" >/dev/null; then
    tool=$name
  elif [ -x "$kept/bin/$name" ]; then
    tool=$kept/bin/$name
  elif [ "${DESCRY_INSTALL_TOOLS:-}" != 1 ]; then
    skip "$name" "it is not installed; DESCRY_INSTALL_TOOLS=1 builds it once"
    exit 0
  # It runs for seconds, so optimising it would cost more than it gains.
  elif CARGO_PROFILE_DEV_DEBUG=0 cargo install "$name" --version "$version" --locked --debug --root "$kept"; then
    tool=$kept/bin/$name
  else
    skip "$name" "it cannot be built from the registry"
    exit 0
  fi
}
