# For programs that are started outside the desktop: where its bus and its sound are, and what it does not have.
export NO_AT_BRIDGE=1
if [ -z "${XDG_RUNTIME_DIR:-}" ] && [ -O /run/berth/user ]; then
    export XDG_RUNTIME_DIR=/run/berth/user
fi
