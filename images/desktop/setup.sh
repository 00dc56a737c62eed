# Runs in the chroot after the packages are installed and the files are copied.

# What programs look up at their start is made ready here, once.
/usr/lib/*/glib-2.0/glib-compile-schemas /usr/share/glib-2.0/schemas
fc-cache --force --system-only
# The same entries stand in the menu, on the panel and on the desktop.
entries=/usr/local/share/applications
for entry in 30-xfce4-terminal 40-pcmanfm 50-org.xfce.mousepad; do
    ln -s "$entries/${entry#*-}.desktop" "/usr/share/berth/panel/$entry.desktop"
    install -D -m 0644 -t /home/user/Desktop "$entries/${entry#*-}.desktop"
done
# Parts of the desktop that nobody starts by hand.
for entry in jgmenu pcmanfm-desktop-pref tint2 tint2conf debian-uxterm; do
    printf '[Desktop Entry]\nType=Application\nName=%s\nExec=true\nNoDisplay=true\n' "$entry" > "$entries/$entry.desktop"
done
update-desktop-database -q /usr/share/applications "$entries"
update-alternatives --quiet --set x-terminal-emulator /usr/bin/xfce4-terminal.wrapper
# Folders that the files above made on their way.
chown -R user:user /home/user
