//! Applications of the desktop: which are installed, which show a window, starting and stopping them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_guest_api::ToolResult;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::shell::{bash, directory};
use super::super::text::Text;
use super::super::{Spec, Tool, ToolError, done};
use super::SERVER;
use super::mouse::NoArgs;
use super::windows::process_name;
use crate::computer::ComputerError;
use crate::guest::Guest;
use crate::job::wire::{Exit, Input};
use crate::output::discard;

/// Where menus look for applications, behind the user's own folder.
const FOLDERS: [&str; 2] = ["/usr/local/share/applications", "/usr/share/applications"];

/// Bytes of one desktop entry; translations of its name make it long.
const ENTRY_BYTES_MAX: u64 = 256 << 10;

/// Desktop entries of one folder.
const ENTRIES_MAX: usize = 2000;

/// How long stopping may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// A shell that starts a program becomes that program; how long that is waited for.
const START_PATIENCE: Duration = Duration::from_millis(300);

pub(in super::super) struct GetInstalledApps;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct AppsArgs {
    /// Those of the menu; true if absent.
    start_menu: Option<bool>,
    /// Those on the desktop as icons; false if absent.
    desktop: Option<bool>,
    /// Leaves out settings and other tools of the desktop itself; true if absent.
    #[serde(alias = "ignore_system_app")]
    ignore_system_apps: Option<bool>,
}

impl Tool for GetInstalledApps {
    const SPEC: Spec = Spec {
        name: "get_installed_apps",
        server: SERVER,
        description: "Lists installed applications, as a JSON array with names and the commands that start them.",
    };
    type Args = AppsArgs;

    async fn run(args: AppsArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let home = PathBuf::from(guest.home());
        let mut folders = Vec::new();
        if args.start_menu.unwrap_or(true) {
            folders.push(home.join(".local/share/applications"));
            folders.extend(FOLDERS.map(PathBuf::from));
        }
        if args.desktop.unwrap_or(false) {
            folders.push(home.join("Desktop"));
        }
        let ignore_system = args.ignore_system_apps.unwrap_or(true);
        let apps = guest
            .files
            .run(move || Ok(installed(&folders, ignore_system)))
            .await?;
        Ok(ToolResult::text(Value::Array(apps).to_string()))
    }
}

/// By name. Of two entries with one file name the first folder's counts, as in menus.
fn installed(folders: &[PathBuf], ignore_system: bool) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let mut apps = BTreeMap::new();
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten().take(ENTRIES_MAX) {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "desktop")
                || !seen.insert(entry.file_name())
            {
                continue;
            }
            if let Some(app) = read_entry(&path).and_then(|text| App::parse(&text))
                && !(ignore_system && app.is_system)
            {
                apps.entry(app.name.clone()).or_insert(app);
            }
        }
    }
    apps.into_values().map(App::described).collect()
}

fn read_entry(path: &Path) -> Option<String> {
    let file = std::fs::File::open(path)
        .ok()
        .filter(|file| file.metadata().is_ok_and(|about| about.is_file()))?;
    let mut text = String::new();
    file.take(ENTRY_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A desktop entry, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct App {
    name: String,
    start_cmd: String,
    work_directory: Option<String>,
    icon: Option<String>,
    is_system: bool,
}

impl App {
    /// None for an entry that menus do not show, and for a program without a window of its own.
    fn parse(text: &str) -> Option<Self> {
        let lines = text
            .lines()
            .skip_while(|line| line.trim() != "[Desktop Entry]")
            .skip(1);
        let fields: BTreeMap<&str, &str> = lines
            .take_while(|line| !line.starts_with('['))
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim()))
            .collect();
        let is = |name: &str| {
            fields
                .get(name)
                .is_some_and(|value| value.eq_ignore_ascii_case("true"))
        };
        let text_of = |name: &str| {
            fields
                .get(name)
                .filter(|value| !value.is_empty())
                .map(|value| (*value).to_owned())
        };
        let unseen = ["NoDisplay", "Hidden", "Terminal"].into_iter().any(is);
        if fields.get("Type") != Some(&"Application") || unseen {
            return None;
        }
        let categories = fields.get("Categories").copied().unwrap_or_default();
        Some(Self {
            name: text_of("Name")?,
            start_cmd: without_field_codes(fields.get("Exec").filter(|exec| !exec.is_empty())?),
            work_directory: text_of("Path"),
            icon: text_of("Icon"),
            is_system: categories.split(';').any(|category| category == "Settings"),
        })
    }

    fn described(self) -> Value {
        let mut app = json!({ "name": self.name, "start_cmd": self.start_cmd });
        if let Some(folder) = self.work_directory {
            app["work_directory"] = folder.into();
        }
        if let Some(icon) = self.icon {
            app["icon"] = icon.into();
        }
        app
    }
}

/// A command without the places for files and the like (`%U`); `%%` is a percent sign.
fn without_field_codes(exec: &str) -> String {
    let words = exec
        .split_whitespace()
        .filter(|word| !(word.len() == 2 && word.starts_with('%') && *word != "%%"));
    words.collect::<Vec<_>>().join(" ").replace("%%", "%")
}

/// A process, as clients read it.
fn process(pid: i64) -> Value {
    let command = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(String::from_utf8_lossy)
        .collect();
    let name = u32::try_from(pid).map(process_name).unwrap_or_default();
    json!({ "pname": name, "pid": pid, "cmdline": words.join(" ") })
}

pub(in super::super) struct StartApp;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct StartArgs {
    /// The command, as `get_installed_apps` has it, or any other.
    start_cmd: Text,
    /// Where it starts, an absolute path; the home directory if absent.
    work_directory: Option<Text>,
}

impl Tool for StartApp {
    const SPEC: Spec = Spec {
        name: "start_app",
        server: SERVER,
        description: "Starts an application on the desktop and returns its process at once, as a JSON array.",
    };
    type Args = StartArgs;

    async fn run(args: StartArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let command = bash(&without_field_codes(&args.start_cmd.0)).map_err(|error| match error {
            ToolError::Field { got, allowed, .. } => ToolError::Field {
                field: "start_cmd",
                got,
                allowed,
            },
            other => other,
        })?;
        let directory = directory(args.work_directory.as_ref(), &guest).await?;
        // An application needs the display before it starts.
        guest.computer.agent(&guest).await?;
        let (job, output) = guest
            .jobs
            .start(command, &directory, &[], Input::Nothing, Vec::new())
            .await?;
        discard(output.stdout);
        discard(output.stderr);
        let (pid, began) = (i64::from(job.pid), Instant::now());
        // One that has ended already is told by what was seen of it, or by what was asked for.
        let mut seen = json!({ "pname": "bash", "pid": pid, "cmdline": args.start_cmd.0 });
        while began.elapsed() < START_PATIENCE && seen["pname"] == "bash" && !job.has_ended() {
            let now = process(pid);
            if now["pname"] != "" && now["cmdline"] != "" {
                seen = now;
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(ToolResult::text(json!([seen]).to_string()))
    }
}

pub(in super::super) struct ListVisibleApps;

impl Tool for ListVisibleApps {
    const SPEC: Spec = Spec {
        name: "list_visible_apps",
        server: SERVER,
        description: "Lists the processes of applications that show a window, as a JSON array.",
    };
    type Args = NoArgs;

    async fn run(_: NoArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let windows = guest.computer.look(&guest, |looker| looker.windows()).await?;
        let pids: BTreeSet<u32> = windows
            .iter()
            .map(|window| window.pid)
            .filter(|pid| *pid > 0)
            .collect();
        let apps = pids.into_iter().map(|pid| process(pid.into())).collect();
        Ok(ToolResult::text(Value::Array(apps).to_string()))
    }
}

/// A command that asks processes to end, and five seconds later makes those end that have not: a program may be too busy
/// with its start to hear. The three have `$1` for `target`.
fn insist(ask: &str, look: &str, end: &str, target: &str) -> Vec<String> {
    let script = format!(
        "{ask} || exit; for _ in {{1..50}}; do {look} > /dev/null 2>&1 || exit 0; sleep 0.1; done; {end} || true"
    );
    ["/bin/bash", "-c", &script, "stop", target]
        .map(str::to_owned)
        .to_vec()
}

/// Runs what stops an application, with the rights of the session's user.
async fn stop(guest: &Guest, shown: String, command: Vec<String>) -> Result<ToolResult, ToolError> {
    let stopped = guest.jobs.complete(command, "/", STOP_TIME_MAX).await?;
    match stopped.exit {
        Some(Exit::Code(0)) => Ok(done()),
        Some(_) if stopped.complaint.is_empty() => Err(ComputerError::NotStopped {
            command: shown,
            why: "it found nothing to stop".into(),
        }
        .into()),
        _ => Err(ComputerError::NotStopped {
            command: shown,
            why: stopped.complaint,
        }
        .into()),
    }
}

pub(in super::super) struct StopAppByPid;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct PidArgs {
    /// The process, as `start_app` and `list_visible_apps` have it.
    pid: i64,
}

impl Tool for StopAppByPid {
    const SPEC: Spec = Spec {
        name: "stop_app_by_pid",
        server: SERVER,
        description: "Ends the application with this process id; one that has not ended after five seconds is killed.",
    };
    type Args = PidArgs;

    async fn run(args: PidArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        // Numbers below 2 mean many processes to `kill`, or the first one.
        if args.pid < 2 {
            return Err(ToolError::Field {
                field: "pid",
                got: args.pid.to_string(),
                allowed: "the id of a process, as `list_visible_apps` has it",
            });
        }
        let pid = args.pid.to_string();
        let command = insist(r#"kill "$1""#, r#"kill -0 "$1""#, r#"kill -KILL "$1""#, &pid);
        stop(&guest, format!("kill {pid}"), command).await
    }
}

pub(in super::super) struct StopAppByPname;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct PnameArgs {
    /// The name of the process, exactly, as `list_visible_apps` has it.
    pname: Text,
}

impl Tool for StopAppByPname {
    const SPEC: Spec = Spec {
        name: "stop_app_by_pname",
        server: SERVER,
        description: "Ends the applications whose process has this name; what has not ended after five seconds is killed.",
    };
    type Args = PnameArgs;

    async fn run(args: PnameArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        if args.pname.0.trim().is_empty() || args.pname.0.contains('\0') {
            return Err(ToolError::Field {
                field: "pname",
                got: format!("`{}`", args.pname.0.escape_debug()),
                allowed: "the name of a process, as `list_visible_apps` has it",
            });
        }
        // Taken as it is: `pkill` would read it as a pattern.
        let pattern: String = args
            .pname
            .0
            .chars()
            .flat_map(|c| {
                let special = !c.is_alphanumeric() && c.is_ascii() && c != '-' && c != '_';
                special.then_some('\\').into_iter().chain([c])
            })
            .collect();
        let command = insist(
            r#"pkill --exact -- "$1""#,
            r#"pgrep --exact -- "$1""#,
            r#"pkill -KILL --exact -- "$1""#,
            &pattern,
        );
        stop(&guest, format!("pkill --exact {pattern}"), command).await
    }
}

pub(in super::super) struct StopAppByCmd;

#[derive(Debug, Deserialize, JsonSchema)]
pub(in super::super) struct CmdArgs {
    /// A command line that ends the application, such as `kill -9 1234`.
    stop_cmd: Text,
}

impl Tool for StopAppByCmd {
    const SPEC: Spec = Spec {
        name: "stop_app_by_cmd",
        server: SERVER,
        description: "Ends an application with a command of its own.",
    };
    type Args = CmdArgs;

    async fn run(args: CmdArgs, guest: Guest) -> Result<ToolResult, ToolError> {
        let command = bash(&args.stop_cmd.0)?;
        stop(&guest, args.stop_cmd.0, command).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "# comment\n[Desktop Entry]\nType=Application\nName=Text Editor\nName[de]=Texteditor\n\
                         Exec=gedit --new %U\nIcon=gedit\nPath=/tmp\nCategories=GTK;Utility;\n[Desktop Action x]\nName=Other\n";

    #[test]
    fn an_entry_is_an_application_or_none() {
        let app = App::parse(ENTRY).unwrap();
        assert_eq!(
            (app.name.as_str(), app.start_cmd.as_str()),
            ("Text Editor", "gedit --new")
        );
        assert_eq!(app.work_directory.as_deref(), Some("/tmp"));
        assert!(!app.is_system);
        assert_eq!(App::parse(&ENTRY.replace("Icon=gedit", "NoDisplay=true")), None);
        assert_eq!(App::parse(&ENTRY.replace("Icon=gedit", "Terminal=true")), None);
        assert_eq!(App::parse(&ENTRY.replace("Type=Application", "Type=Link")), None);
        assert_eq!(App::parse("nonsense"), None);
        assert!(
            App::parse(&ENTRY.replace("Utility", "Settings"))
                .unwrap()
                .is_system
        );
    }

    #[test]
    fn field_codes_go_and_percent_signs_stay() {
        assert_eq!(without_field_codes("a %f --b=%% %U c"), "a --b=% c");
    }
}
