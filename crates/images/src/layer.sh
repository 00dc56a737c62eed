#!/bin/sh
# Fills one layer. Runs as root and as the first process of private mount and pid namespaces, so that every mount
# and every process it leaves behind goes with it, however it ends.
#
# LOWER      what is below, top first, separated by colons; each a directory or an erofs file; empty for the lowest
# WORK       this layer's own folder: `diff` is filled, `ovl`, `root` and `lower` are used
# PACKAGES   Debian packages to install, separated by spaces
# DEBS LISTS cache folders for packages and package lists
# WHEELS     folder with wheels and `requirements.txt`; empty for none
# FILES      folder with files to copy in, owners and modes as they should be; empty for none
# SETUP      script to run in the image at the end; empty for none
#
# Lines that begin with `step:` are for the person who waits.
set -eu
umask 022

root=$WORK/root
mkdir -p "$root" "$WORK/diff"
mount --make-rprivate /

if [ -z "$LOWER" ]; then
    mount --bind "$WORK/diff" "$root"
else
    mkdir -p "$WORK/ovl"
    stack=
    number=0
    rest=$LOWER:
    while [ -n "$rest" ]; do
        layer=${rest%%:*}
        rest=${rest#*:}
        if [ -f "$layer" ]; then
            number=$((number + 1))
            mkdir -p "$WORK/lower/$number"
            mount -t erofs -o loop,ro "$layer" "$WORK/lower/$number"
            layer=$WORK/lower/$number
        fi
        stack=${stack:+$stack:}$layer
    done
    # Nothing in the upper directory may refer to this mount: no redirects, no metadata-only copies.
    mount -t overlay -o \
        "lowerdir=$stack,upperdir=$WORK/diff,workdir=$WORK/ovl,index=off,metacopy=off,redirect_dir=nofollow,xino=off" \
        overlay "$root"
fi

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid,mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs "$root/run"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/tmp"

# Nothing of the caller's environment belongs in an image, except the way to the network.
inside() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} \
        ${no_proxy:+"no_proxy=$no_proxy"} \
        chroot "$root" "$@"
}

if [ -n "$PACKAGES" ]; then
    for name in resolv.conf hosts; do
        if [ -f "/etc/$name" ] && [ -f "$root/etc/$name" ]; then
            mount --bind "$(readlink -f "/etc/$name")" "$root/etc/$name"
        fi
    done
    mount --bind "$DEBS" "$root/var/cache/apt/archives"
    mount --bind "$LISTS" "$root/var/lib/apt/lists"
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod 0755 "$root/usr/sbin/policy-rc.d"

    # Not on descriptor 1: apt closes the one it reports on before it runs dpkg.
    apt() {
        3>&1 inside apt-get -y -qq -o APT::Sandbox::User=root -o APT::Keep-Downloaded-Packages=true \
            -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o APT::Status-Fd=3 \
            -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
    }
    echo "step:reading the package lists"
    apt update
    echo "step:installing packages"
    # shellcheck disable=SC2086 # one word for each package
    apt install --no-install-recommends $PACKAGES

    rm "$root/usr/sbin/policy-rc.d"
    umount "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"
    for name in resolv.conf hosts; do
        if mountpoint -q "$root/etc/$name"; then umount "$root/etc/$name"; fi
    done
fi

if [ -n "$FILES" ]; then
    echo "step:copying files"
    tar -C "$FILES" --numeric-owner -cf - . |
        inside tar -C / --numeric-owner --no-overwrite-dir --keep-directory-symlink -xpf -
fi

if [ -n "$WHEELS" ]; then
    echo "step:installing python packages"
    mkdir "$root/tmp/wheels"
    mount --bind "$WHEELS" "$root/tmp/wheels"
    # Debian has some of the same packages for its own programs: ours stand before them, and theirs stay.
    inside python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --require-hashes --ignore-installed \
        --break-system-packages --root-user-action ignore \
        --find-links /tmp/wheels -r /tmp/wheels/requirements.txt
    umount "$root/tmp/wheels"
fi

if [ -n "$SETUP" ]; then
    echo "step:setting up"
    inside sh -eu < "$SETUP"
fi

echo "step:tidying"
umount "$root/tmp" "$root/run"
umount "$root/dev/pts" "$root/dev/shm"
for device in null zero full random urandom tty; do umount "$root/dev/$device"; done
umount "$root/dev" "$root/sys" "$root/proc"

# What a package leaves behind for its own machine. A file that is not there is not named again: removing it would
# put a mark into the layer.
if [ -z "$LOWER" ]; then
    find "$root/dev" "$root/run" "$root/tmp" -xdev -mindepth 1 -delete
    mkdir -p "$root/proc" "$root/sys"
fi
find "$root/var/tmp" "$root/var/cache/apt" "$root/var/lib/apt/lists" -xdev -mindepth 1 ! -type d -delete
find "$root/var/log" -xdev -type f -delete
find "$root/etc/ssh" -xdev -name 'ssh_host_*' -delete 2>/dev/null || true
for leftover in etc/passwd- etc/shadow- etc/group- etc/gshadow- etc/subuid- etc/subgid- etc/.pwd.lock \
    var/lib/dpkg/status-old var/lib/dpkg/diversions-old var/lib/dpkg/statoverride-old \
    var/cache/debconf/config.dat-old var/cache/debconf/templates.dat-old var/cache/ldconfig/aux-cache \
    var/lib/dbus/machine-id var/lib/systemd/random-seed root/.cache root/.bash_history; do
    if [ -e "$root/$leftover" ]; then rm -rf "${root:?}/$leftover"; fi
done
if [ -s "$root/etc/machine-id" ] || [ ! -e "$root/etc/machine-id" ]; then : > "$root/etc/machine-id"; fi
umount "$root"
