# Runs in the chroot after the packages are installed and the files are copied.

# Compiled once, and never checked against the sources again: a session starts reading at once. Packages' own tests,
# half of all files, are left out.
python3 -m compileall -q -f -j 0 -x '/tests?/' --invalidation-mode unchecked-hash /usr/local/lib/python3.13

# The first import of matplotlib would look at every font there is; keep what it finds.
runuser -u user -- env HOME=/home/user MPLBACKEND=Agg python3 -c 'import matplotlib.pyplot'
