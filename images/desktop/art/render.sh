#!/bin/sh
# Renders the drawings here to what the desktop shows. Needs rsvg-convert (Debian: librsvg2-bin).
set -eu
cd "$(dirname "$0")"
share=../files/usr/share/berth
mkdir -p "$share"
rsvg-convert --width 1920 --height 1080 --output "$share/wallpaper.png" wallpaper.svg
for icon in terminal files editor menu; do
    rsvg-convert --width 96 --height 96 --output "$share/$icon.png" "$icon.svg"
done
