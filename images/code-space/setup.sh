# Runs in the chroot after the packages are installed and the files are copied.

# Compiled once, and never checked against the sources again: a session starts reading at once. Packages' own tests,
# half of all files, are left out.
python3 -m compileall -q -f -j 0 -x '/tests?/' --invalidation-mode unchecked-hash /usr/local/lib/python3.13

# The first import of matplotlib would look at every font there is; keep what it finds.
runuser -u user -- env HOME=/home/user MPLBACKEND=Agg python3 -c 'import matplotlib.pyplot'

# Java's interpreter, and an archive of the classes that it loads: with it a session's first run of Java waits a third
# of the time. The archive holds only for this very file, so its time must be one that packing a layer leaves alone.
cd /usr/lib/berth/java
javac -Xlint:-options -d classes *.java
jar --create --file driver.jar --date 2000-01-01T00:00:00Z -C classes berth
rm -r classes
touch -d 2000-01-01T00:00:00Z driver.jar
sed 's/-XX:SharedArchiveFile=/-XX:ArchiveClassesAtExit=/; s/berth.Driver$/& train/' start | sh
