# Runs in the chroot after the packages are installed and the files are copied.

groupadd --gid 1000 user
useradd --uid 1000 --gid user --create-home --home-dir /home/user --shell /bin/bash --comment "Session user" user
usermod --append --groups sudo,audio,video user
visudo --check --quiet

# The JRE's and others' post-install scripts want these, although no page is kept in them.
for section in 1 2 3 4 5 6 7 8; do mkdir -p "/usr/share/man/man$section"; done

# A session's user installs Python packages with pip, for itself or with sudo. A diversion outlives upgrades.
dpkg-divert --quiet --rename --add /usr/lib/python3.13/EXTERNALLY-MANAGED

# What the sandbox mounts over has to be there, so that a session's own layer stays empty.
mkdir -p /opt/berth
: > /opt/berth/berth-guest
chmod 0755 /opt/berth/berth-guest
printf '127.0.0.1 localhost\n::1 localhost\n' > /etc/hosts
: > /etc/resolv.conf
echo session > /etc/hostname
chmod 0644 /etc/hosts /etc/resolv.conf /etc/hostname
