//! Fills and packs real layers over a root of a few host programs: no network, but root and the host's tools.

use std::path::Path;

use super::*;
use crate::recipe::{RECIPE_FILE, RecipeFiles};

/// Says why, if layers cannot be made here.
fn reason_to_skip() -> Option<String> {
    tools::check().err().map(|error| error.to_string())
}

/// A root with the programs that filling a layer runs inside it.
fn tiny_root(root: &Path) {
    let script = r#"
        set -eu
        mkdir -p "$1"
        cd "$1"
        mkdir -p proc sys dev run tmp etc/ssh opt/old var/tmp var/log var/cache/apt var/lib/apt/lists usr/bin usr/sbin
        for program in sh tar rm mkdir cat stat; do
            path=$(readlink -f "$(command -v $program)")
            cp "$path" usr/bin/$program
            for library in $(ldd "$path" | grep -o '/[^ ]*'); do
                mkdir -p ".${library%/*}"
                cp -n "$library" ".$library"
            done
        done
        echo old > opt/old/old
        echo below > etc/gone
        echo below > etc/kept
        : > etc/machine-id
    "#;
    let status = std::process::Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(root)
        .status()
        .unwrap();
    assert!(status.success());
}

fn recipe(name: &str, setup: &str) -> Recipe {
    let files: RecipeFiles = [
        (
            RECIPE_FILE,
            "from = \"tiny\"\n[modes]\n\"/usr/bin/tool\" = \"0750\"",
        ),
        ("files/usr/bin/tool", "#!/bin/sh\n"),
        ("files/home/user/notes/today", name),
        ("setup.sh", setup),
    ]
    .map(|(path, content)| (path.to_owned(), content.as_bytes().to_vec()))
    .into();
    Recipe::parse(name, &files).unwrap()
}

fn key(name: &str) -> Digest {
    let mut hasher = crate::digest::InputHasher::new();
    hasher.add("recipe", name.as_bytes());
    hasher.finish()
}

fn make(context: Context<'_>, recipe: &Recipe, below: &[PathBuf], work: &Path) -> Result<LayerRecord> {
    let user = User {
        name: "user".to_owned(),
        uid: 1000,
        gid: 1001,
        home: "/home/user".to_owned(),
    };
    let order = fill::Order {
        recipe,
        user: &user,
        below,
        wheels: None,
        folder: work.join(&recipe.name),
    };
    let diff = fill::fill(context, &order)?;
    let file = work.join(format!("{}.erofs", recipe.name));
    pack::pack(context, recipe, &key(&recipe.name), &diff, &file)
}

/// Runs `check` with a store, its lock and a tiny root.
fn in_workshop(check: impl FnOnce(Context<'_>, PathBuf, &Path)) {
    if let Some(reason) = reason_to_skip() {
        eprintln!("skipped: {reason}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tiny");
    tiny_root(&root);
    let store = Store::open(folder.path().join("images")).unwrap();
    let interrupt = Interrupt::never();
    let lock = store.lock(&interrupt, || ()).unwrap();
    let work = store.work_folder(&lock).unwrap();
    let context = Context {
        store: &store,
        lock: &lock,
        progress: &(),
        interrupt: &interrupt,
    };
    check(context, root, work.path());
    let mounts = fs_err::read_to_string("/proc/self/mounts").unwrap();
    assert!(
        !mounts.contains(&folder.path().display().to_string()),
        "nothing stays mounted: {mounts}"
    );
}

#[test]
fn a_layer_hides_and_replaces_what_is_below_it() {
    in_workshop(|context, root, work| {
        let setup = "rm /etc/gone\nrm -r /opt/old\nmkdir /opt/old\necho new > /opt/old/new\n";
        let lower = make(
            context,
            &recipe("lower", setup),
            std::slice::from_ref(&root),
            work,
        )
        .unwrap();
        assert_eq!(
            context.store.recorded(&key("lower")).unwrap(),
            Some(lower.clone())
        );

        // The next layer stands on the packed one, as a later build's would, and looks at what it sees.
        let setup = "
            test ! -e /etc/gone
            test ! -e /opt/old/old
            test \"$(cat /opt/old/new)\" = new
            test \"$(cat /etc/kept)\" = below
            test \"$(stat -c '%a %u:%g' /usr/bin/tool)\" = '750 0:0'
            test \"$(stat -c '%a %u:%g' /home/user/notes)\" = '755 1000:1001'
            test \"$(stat -c '%a %u:%g' /home/user/notes/today)\" = '644 1000:1001'
            test -c /dev/null
            test -d /proc/self
        ";
        let below = [root, context.store.layer_path(&lower.digest)];
        make(context, &recipe("upper", setup), &below, work).unwrap();
    });
}

#[test]
fn a_script_that_fails_makes_no_layer() {
    in_workshop(|context, root, work| {
        let error = make(
            context,
            &recipe("broken", "echo about to fail\nfalse\n"),
            &[root],
            work,
        )
        .unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("building `broken` failed while setting up: "),
            "{message}"
        );
        assert!(message.ends_with("about to fail"), "{message}");
        assert_eq!(context.store.recorded(&key("broken")).unwrap(), None);
        assert_eq!(
            fs_err::read_dir(context.store.folder().join("layers"))
                .unwrap()
                .count(),
            0
        );
    });
}
