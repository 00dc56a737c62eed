//! The environment that a session's programs start with.

use crate::user::User;

/// What a shell finds when the image names nothing else.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables for `user`: what the image set for the guest, then what names the account, then `extra`.
///
/// `display` is always named, also before there is an X server on it: one that starts later is found. In `runtime_dir`
/// the user's programs put the sockets by which they find each other. `cpus` says how many processors the session has,
/// where the machine has more.
pub fn for_user(
    user: &User,
    display: &str,
    runtime_dir: &str,
    cpus: Option<u64>,
    inherited: impl Iterator<Item = (String, String)>,
    extra: &[(String, String)],
) -> Vec<(String, String)> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| {
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value.to_owned()));
    };
    set("PATH", PATH);
    set("LANG", "C.UTF-8");
    set("TERM", "dumb");
    if let Some(cpus) = cpus {
        // Programs count the machine's processors and would start a thread for each. `nproc` reads the first.
        for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHON_CPU_COUNT"] {
            set(name, &cpus.to_string());
        }
    }
    for (name, value) in inherited {
        // The guest's own settings are nobody else's business.
        if !name.starts_with("BERTH_") && !name.is_empty() {
            set(&name, &value);
        }
    }
    set("HOME", &user.home);
    set("USER", &user.name);
    set("LOGNAME", &user.name);
    set("SHELL", "/bin/bash");
    set("DISPLAY", display);
    set("XDG_RUNTIME_DIR", runtime_dir);
    for (name, value) in extra {
        set(name, value);
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_wins_over_the_image_and_the_image_over_the_default() {
        let user = User {
            name: "u".into(),
            uid: 1,
            gid: 1,
            groups: vec![1],
            home: "/home/u".into(),
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let inherited = [
            pair("LANG", "de"),
            pair("HOME", "/root"),
            pair("BERTH_USER", "x"),
            pair("A", "1"),
        ];
        let variables = for_user(
            &user,
            ":0",
            "/run/u",
            Some(2),
            inherited.into_iter(),
            &[pair("A", "2")],
        );
        let value = |name: &str| {
            let mut found = variables
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, value)| value.as_str());
            (found.next(), found.next())
        };
        assert_eq!(value("OMP_NUM_THREADS"), (Some("2"), None));
        assert_eq!(value("LANG"), (Some("de"), None));
        assert_eq!(value("HOME"), (Some("/home/u"), None));
        assert_eq!(value("XDG_RUNTIME_DIR"), (Some("/run/u"), None));
        assert_eq!(value("A"), (Some("2"), None));
        assert_eq!(value("BERTH_USER"), (None, None));
        assert_eq!(value("PATH"), (Some(PATH), None));
    }
}
