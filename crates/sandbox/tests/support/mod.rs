//! What the tests of real sandboxes share: a small root file system, servers that clean up, and requests to the stand-in.
//!
//! They need root, an OCI runtime, `mkfs.erofs`, `nft` and a static busybox, and fail without.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use berth_sandbox::{
    Config, GuestAddress, Limits, Local, Priority, Sandbox, SandboxId, Sandboxes as _, Spec,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

/// How long something that happens at once may take on a machine that is busy with other tests.
pub const SOON: Duration = Duration::from_secs(20);

/// The stand-in for the guest, which cargo builds with the tests.
pub fn stand_in() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.join("examples/stand_in")
}

/// Two layers, made once for each test program: a busybox system below, a few files above that change some of it.
pub fn layers() -> Vec<PathBuf> {
    static LAYERS: OnceLock<(tempfile::TempDir, Vec<PathBuf>)> = OnceLock::new();
    LAYERS
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let layers = vec![base(folder.path()), top(folder.path())];
            (folder, layers)
        })
        .1
        .clone()
}

fn base(folder: &Path) -> PathBuf {
    let root = folder.join("base");
    for name in [
        "bin",
        "dev",
        "etc",
        "home/user",
        "opt",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "usr/bin",
        "var",
    ] {
        fs_err::create_dir_all(root.join(name)).unwrap();
    }
    fs_err::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout)
        .unwrap()
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs_err::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n",
    )
    .unwrap();
    fs_err::write(root.join("etc/layer"), "base\n").unwrap();
    fs_err::write(root.join("etc/base-only"), "base\n").unwrap();
    // Both of these a sandbox must have as files of its own.
    symlink("/proc/self/mounts", root.join("etc/resolv.conf")).unwrap();
    fs_err::write(root.join("etc/hosts"), "of the image\n").unwrap();
    fs_err::copy(stand_in(), root.join("usr/bin/as-root")).unwrap();
    set_mode(&root.join("usr/bin/as-root"), 0o4755);
    fs_err::copy(stand_in(), root.join("usr/bin/stand-in")).unwrap();
    set_mode(&root.join("tmp"), 0o1777);
    std::os::unix::fs::chown(root.join("home/user"), Some(1000), Some(1000)).unwrap();
    make_layer(&root)
}

fn top(folder: &Path) -> PathBuf {
    let root = folder.join("top");
    fs_err::create_dir_all(root.join("etc")).unwrap();
    fs_err::write(root.join("etc/layer"), "top\n").unwrap();
    make_layer(&root)
}

fn set_mode(path: &Path, mode: u32) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Makes an erofs file beside a folder.
pub fn make_layer(root: &Path) -> PathBuf {
    let image = root.with_extension("erofs");
    let made = Command::new("mkfs.erofs").arg(&image).arg(root).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    image
}

/// A spec of a small sandbox.
pub fn spec() -> Spec {
    Spec {
        layers: layers(),
        guest_binary: stand_in(),
        hostname: "box".into(),
        limits: Limits {
            memory_bytes: 256 << 20,
            cpus: 2.0,
            pids: 64,
            disk_bytes: 128 << 20,
            inodes: 4096,
        },
        priority: Priority::Normal,
        environment: vec![("BERTH_TEST".into(), "yes".into())],
    }
}

pub fn id(text: &str) -> SandboxId {
    text.parse().unwrap()
}

/// A server with a folder of its own. [`Server::close`] at the end of a test ends everything and checks that nothing is left.
pub struct Server {
    pub local: Option<Local>,
    pub folder: Arc<tempfile::TempDir>,
    config: Config,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config::new(folder.path().join("sandboxes"));
        change(&mut config);
        let local = Local::start(config.clone())
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        Self {
            local: Some(local),
            folder,
            config,
        }
    }

    pub fn local(&self) -> &Local {
        self.local.as_ref().unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.config.state_dir.clone()
    }

    /// Ends the server as a kill would, and starts another one in its place.
    pub async fn restart(&mut self) {
        self.local = None;
        self.local = Some(
            Local::start(self.config.clone())
                .await
                .unwrap_or_else(|error| panic!("{}", chain(&error))),
        );
    }

    pub async fn create(&self, name: &str) -> Sandbox {
        self.create_from(name, &spec()).await
    }

    pub async fn create_from(&self, name: &str, spec: &Spec) -> Sandbox {
        let made = self.local().create(&id(name), spec).await;
        made.unwrap_or_else(|error| {
            panic!(
                "server {} in {}: {}",
                self.tag(),
                self.state().display(),
                chain(&error)
            )
        })
    }

    pub fn tag(&self) -> String {
        fs_err::read_to_string(self.state().join(".server/tag")).unwrap()
    }

    /// Ends all sandboxes and the server.
    pub async fn close(self) {
        for id in self.local().list().await.unwrap() {
            self.local()
                .destroy(&id)
                .await
                .unwrap_or_else(|error| panic!("{}", chain(&error)));
        }
        let (tag, state) = (self.tag(), self.state());
        eventually("nothing is left", || left_of(&tag, &state).retain_server_files()).await;
        self.local()
            .stop()
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert_eq!(left_of(&tag, &state).0, Vec::<String>::new());
        let table = Command::new("nft")
            .args(["list", "table", "inet", &format!("berth_{tag}")])
            .output()
            .unwrap();
        assert!(!table.status.success(), "the firewall table is left");
    }
}

/// A test that fails must not leave its sandboxes to the next ones.
impl Drop for Server {
    fn drop(&mut self) {
        let Some(local) = self.local.take().filter(|_| std::thread::panicking()) else {
            return;
        };
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                for id in local.list().await.unwrap() {
                    let _ = local.destroy(&id).await;
                }
                let _ = local.stop().await;
            });
        });
        let _ = cleaning.join();
    }
}

/// What a server has left on the machine.
pub struct Left(pub Vec<String>);

impl Left {
    /// Empty but for what the server itself needs as long as it runs.
    fn retain_server_files(self) -> Result<(), String> {
        let rest: Vec<String> = self
            .0
            .into_iter()
            .filter(|what| !what.starts_with("server: "))
            .collect();
        if rest.is_empty() {
            Ok(())
        } else {
            Err(rest.join(", "))
        }
    }
}

/// Everything on this machine that belongs to a server, by what the machine itself says.
pub fn left_of(tag: &str, state: &Path) -> Left {
    let mut left = Vec::new();
    let state_text = state.to_str().unwrap();
    for line in fs_err::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        if line.contains(state_text) || line.contains(&format!("/run/berth/{tag}")) {
            left.push(format!("mount {line}"));
        }
    }
    for entry in fs_err::read_dir("/sys/block").unwrap() {
        let backing = entry.unwrap().path().join("loop/backing_file");
        if let Ok(file) = fs_err::read_to_string(backing)
            && file.contains(state_text)
        {
            left.push(format!("loop device of {}", file.trim()));
        }
    }
    for entry in fs_err::read_dir("/sys/class/net").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with(&format!("bv{tag}-")) {
            left.push(format!("link {name}"));
        }
    }
    let trees: Vec<PathBuf> = fs_err::read_dir("/sys/fs/cgroup")
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    for tree in trees.into_iter().chain(["/sys/fs/cgroup".into()]) {
        let parent = tree.join(format!("berth-{tag}"));
        if parent.exists() {
            left.push(format!("server: {}", parent.display()));
        }
        for entry in fs_err::read_dir(parent).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(format!("cgroup {}", path.display()));
            }
        }
    }
    for entry in fs_err::read_dir("/run/berth/slots").into_iter().flatten() {
        let path = entry.unwrap().path();
        if fs_err::read_to_string(&path)
            .unwrap_or_default()
            .contains(state_text)
        {
            left.push(format!("claim {}", path.display()));
        }
    }
    for folder in ["runtime", "guest"] {
        for entry in fs_err::read_dir(format!("/run/berth/{tag}/{folder}"))
            .into_iter()
            .flatten()
        {
            left.push(format!("run file {}", entry.unwrap().path().display()));
        }
    }
    for path in [format!("/run/berth/{tag}"), format!("/run/berth/servers/{tag}")] {
        if Path::new(&path).exists() {
            left.push(format!("server: {path}"));
        }
    }
    for entry in fs_err::read_dir(state).into_iter().flatten() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.starts_with('.') {
            left.push(format!("folder {name}"));
        }
    }
    Left(left)
}

/// Waits for something that the kernel does in its own time, such as removing a network link.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) if Instant::now() > end => panic!("{what}: {why}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// One request to the stand-in of a sandbox.
pub async fn ask(sandbox: &Sandbox, request: Value) -> Value {
    try_ask(sandbox, request).await.unwrap()
}

pub async fn try_ask(sandbox: &Sandbox, request: Value) -> std::io::Result<Value> {
    let GuestAddress::Unix(path) = sandbox.guest();
    let mut stream = UnixStream::connect(path).await?;
    stream.write_all(format!("{request}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    serde_json::from_str(&line).map_err(|_| std::io::ErrorKind::UnexpectedEof.into())
}

/// Runs a shell command in a sandbox as a user; panics unless it succeeds, and returns what it printed.
pub async fn shell_as(sandbox: &Sandbox, uid: u32, script: &str) -> String {
    let (code, stdout, stderr) = try_shell(sandbox, uid, script).await;
    assert_eq!(code, Some(0), "`{script}` failed: {stdout}{stderr}");
    stdout.trim_end().to_owned()
}

pub async fn shell(sandbox: &Sandbox, script: &str) -> String {
    shell_as(sandbox, 0, script).await
}

/// The exit code and both outputs.
pub async fn try_shell(sandbox: &Sandbox, uid: u32, script: &str) -> (Option<i64>, String, String) {
    let answer = ask(sandbox, json!({ "run": ["/bin/sh", "-c", script], "uid": uid })).await;
    assert!(answer.get("error").is_none(), "{answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (answer["code"].as_i64(), text("stdout"), text("stderr"))
}

/// An error with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
