# For programs that are started outside the desktop: where its bus is, and what it does not have.
export NO_AT_BRIDGE=1
if [ -z "${XDG_RUNTIME_DIR:-}" ] && [ -d "/tmp/runtime-$(id -u)" ]; then
    XDG_RUNTIME_DIR=/tmp/runtime-$(id -u)
    export XDG_RUNTIME_DIR
fi
if [ -z "${DBUS_SESSION_BUS_ADDRESS:-}" ] && [ -S "${XDG_RUNTIME_DIR:-}/bus" ]; then
    DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
    export DBUS_SESSION_BUS_ADDRESS
fi
