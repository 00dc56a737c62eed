# Runs in the chroot after the packages are installed and the files are copied.

entries=/usr/local/share/applications
for entry in 20-chromium 21-libreoffice-writer 22-libreoffice-calc; do
    ln -s "$entries/${entry#*-}.desktop" "/usr/share/berth/panel/$entry.desktop"
    install -m 0644 -t /home/user/Desktop "$entries/${entry#*-}.desktop"
done
# Its window is the word processor's, and nobody starts it by hand.
printf '[Desktop Entry]\nType=Application\nName=LibreOffice\nExec=libreoffice\nNoDisplay=true\n' > "$entries/libreoffice-startcenter.desktop"
update-desktop-database -q "$entries"
# Programs ask for it by both names.
ln -s /usr/bin/chromium /usr/local/bin/google-chrome
ln -s /usr/bin/chromium /usr/local/bin/chromium-browser
chown -R user:user /home/user

# The first start of LibreOffice makes a profile, which takes seconds.
runuser -u user -- env HOME=/home/user /usr/lib/berth/office --headless --terminate_after_init > /dev/null
