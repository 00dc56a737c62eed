//! The engines that the tests run on. PostgreSQL is a cluster of the tests' own, from Debian's packages, started once and
//! stopped when the tests are over, however they end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use berth_store::Database;
use sqlx::{AnyConnection, Connection, Executor};

/// Runs each test on both engines, in a database of its own.
macro_rules! on_both_engines {
    ($($test:ident,)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(berth_store::Database::Sqlite(folder.path().join("berth.db"))).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::engines::new_postgres_database().await).await;
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// Makes the cluster in `$1` with the programs in `$2`, says so, and removes it when its input ends: that is when the
/// tests are over. PostgreSQL refuses to run as root.
const CLUSTER: &str = r#"
set -e
cd /
trap 'rm -rf "$1"' EXIT
chown postgres "$1"
run() { runuser -u postgres -- "$@" > "$folder/log" 2>&1 < /dev/null || { cat "$folder/log" >&2; exit 1; }; }
folder=$1
run "$2/initdb" -D "$1/data" -A trust -U postgres --no-sync
run "$2/pg_ctl" -D "$1/data" -w -l "$1/server.log" -o "-c listen_addresses='' -c unix_socket_directories='$1' -c fsync=off -c max_connections=400" start
echo ready
cat > /dev/null
run "$2/pg_ctl" -D "$1/data" -w -m immediate stop
"#;

struct Cluster {
    folder: PathBuf,
    /// Its input ends with this process.
    _keeper: Child,
}

fn cluster() -> &'static Cluster {
    static CLUSTER_OF_ALL: OnceLock<Cluster> = OnceLock::new();
    CLUSTER_OF_ALL.get_or_init(|| {
        let installed = fs_err::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten();
        let programs = installed.map(|entry| entry.path().join("bin")).max();
        let programs = programs.expect("PostgreSQL is not installed; run: apt-get install -y postgresql");
        let folder = tempfile::Builder::new()
            .prefix("berth-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        let mut keeper = Command::new("bash")
            .args(["-c", CLUSTER, "bash"])
            .args([&folder, &programs])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "PostgreSQL did not start; its errors are above");
        Cluster {
            folder,
            _keeper: keeper,
        }
    })
}

fn url(database: &str) -> String {
    let folder = cluster().folder.display().to_string().replace('/', "%2F");
    format!("postgres://postgres@localhost/{database}?host={folder}")
}

/// An empty database.
pub(crate) async fn new_postgres_database() -> Database {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    sqlx::any::install_default_drivers();
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection = AnyConnection::connect(&url("postgres")).await.unwrap();
    connection
        .execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await
        .unwrap();
    Database::from_setting(&url(&name), "/".as_ref()).unwrap()
}
