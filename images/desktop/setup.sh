# Runs in the chroot after the packages are installed and the files are copied.

# What programs look up at their start is made ready here, once.
/usr/lib/*/glib-2.0/glib-compile-schemas /usr/share/glib-2.0/schemas
fc-cache --force --system-only
update-desktop-database -q 2>/dev/null || true
update-alternatives --quiet --set x-terminal-emulator /usr/bin/xfce4-terminal.wrapper
# Folders that the files above made on their way.
chown -R user:user /home/user
