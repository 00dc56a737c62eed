//! Tests of `cookbook`.

use super::*;

const BASE: &str = r#"
[debian]
suite = "trixie"
mirror = "http://mirror.invalid/debian"
security_mirror = "http://mirror.invalid/security"
packages = ["less"]
[user]
name = "user"
uid = 1000
gid = 1000
home = "/home/user"
[limits]
pids = 100
"#;

const TOP: &str = r#"
names = ["top-1"]
from = "base"
languages = ["python"]
[debian]
packages = ["python3"]
[python]
version = "3.13"
requirements = "requirements.txt"
[modes]
"/etc/x" = "0600"
[limits]
cpus = 0.5
"#;

type Files = Vec<(String, String, Vec<u8>)>;

fn files() -> Files {
    [
        ("base", RECIPE_FILE, BASE),
        ("base", "setup.sh", "true"),
        ("top", RECIPE_FILE, TOP),
        ("top", "requirements.txt", "a==1 --hash=sha256:00"),
        ("top", "files/etc/x", "x"),
    ]
    .map(|(recipe, path, content)| (recipe.to_owned(), path.to_owned(), content.as_bytes().to_vec()))
    .to_vec()
}

fn edited(recipe: &str, path: &str, from: &str, to: &str) -> Files {
    let mut files = files();
    let (_, _, content) = files
        .iter_mut()
        .find(|(r, p, _)| r == recipe && p == path)
        .unwrap();
    let text = String::from_utf8(content.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *content = text.replace(from, to).into_bytes();
    files
}

fn keys(files: Files) -> Vec<Digest> {
    let cookbook = Cookbook::from_files(files).unwrap();
    cookbook
        .chain("top")
        .unwrap()
        .links
        .iter()
        .map(|(_, key)| *key)
        .collect()
}

#[test]
fn every_input_of_a_layer_is_in_its_key() {
    let before = keys(files());
    let mut renamed = files();
    renamed[4].1 = "files/etc/y".to_owned();
    renamed[2].2 = TOP.replace("/etc/x", "/etc/y").into_bytes();
    for changed in [
        edited("top", RECIPE_FILE, "python3", "python3-dev"),
        edited("top", RECIPE_FILE, "3.13", "3.14"),
        edited("top", RECIPE_FILE, "0600", "0644"),
        edited("top", "requirements.txt", "00", "01"),
        edited("top", "files/etc/x", "x", "y"),
        renamed,
    ] {
        let after = keys(changed);
        assert_eq!(after[0], before[0], "the recipe below is as it was");
        assert_ne!(after[1], before[1]);
    }
}

#[test]
fn a_change_below_changes_all_above() {
    let before = keys(files());
    for changed in [
        edited("base", RECIPE_FILE, "less", "more"),
        edited("base", RECIPE_FILE, "trixie", "sid"),
        edited("base", RECIPE_FILE, "/security", "/debian-security"),
        edited("base", RECIPE_FILE, "uid = 1000", "uid = 1001"),
        edited("base", "setup.sh", "true", "false"),
    ] {
        let after = keys(changed);
        assert!(after[0] != before[0] && after[1] != before[1]);
    }
}

#[test]
fn what_shapes_no_layer_is_in_no_key() {
    let before = keys(files());
    for changed in [
        edited("top", RECIPE_FILE, "top-1", "top-2"),
        edited("top", RECIPE_FILE, "cpus = 0.5", "cpus = 4.0"),
        edited("top", RECIPE_FILE, "[\"python\"]", "[\"python\", \"r\"]"),
        edited("top", RECIPE_FILE, "names =", "# a comment\nnames ="),
    ] {
        assert_eq!(keys(changed), before);
    }
}

#[test]
fn the_nearest_recipe_wins() {
    let cookbook = Cookbook::from_files(files()).unwrap();
    let chain = cookbook.chain("top-1").unwrap();
    assert_eq!(chain.top().0.name, "top");
    assert_eq!(chain.facts.user.home, "/home/user");
    assert_eq!(chain.facts.languages, ["python"]);
    assert_eq!(
        chain.facts.limits,
        Limits {
            pids: 100,
            cpus: 0.5,
            ..Limits::default()
        }
    );
}

#[test]
fn chains_that_lead_nowhere_are_refused() {
    let message = |files: Files, name: &str| {
        Cookbook::from_files(files)
            .and_then(|cookbook| cookbook.chain(name).map(|_| ()))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(files(), "nothing"),
        "no recipe or image is called `nothing`; there are `base`, `top`, `top-1`"
    );
    assert!(
        message(edited("top", RECIPE_FILE, "\"base\"", "\"gone\""), "top").contains("`from` names `gone`")
    );
    assert!(message(edited("top", RECIPE_FILE, "\"base\"", "\"top\""), "top").contains("the recipe itself"));

    let link = |name: &str, from: &str| {
        (
            name.to_owned(),
            RECIPE_FILE.to_owned(),
            format!("from = \"{from}\"").into_bytes(),
        )
    };
    assert!(message(vec![link("a", "b"), link("b", "a")], "a").contains("circle"));

    let mut twice = files();
    twice.push((
        "other".to_owned(),
        RECIPE_FILE.to_owned(),
        b"from = \"base\"\nnames = [\"top-1\"]".to_vec(),
    ));
    assert!(message(twice, "top").contains("`top-1`"));
}

#[test]
fn built_in_recipes_serve_the_code_space() {
    let cookbook = Cookbook::built_in().unwrap();
    let chain = cookbook.chain("agb-code-space-1").unwrap();
    let names: Vec<_> = chain
        .links
        .iter()
        .map(|(recipe, _)| recipe.name.as_str())
        .collect();
    assert_eq!(names, ["base", "desktop", "code-space"]);
    assert_eq!(
        chain.facts.languages,
        ["python", "javascript", "typescript", "java", "r", "bash"]
    );
    assert!(chain.facts.desktop.is_some());
}

#[test]
fn recipes_in_a_folder_are_the_built_in_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images");
    let read = Cookbook::read(&folder).unwrap();
    let built_in = Cookbook::built_in().unwrap();
    let key = |cookbook: &Cookbook| cookbook.chain("code-space").unwrap().top().1;
    assert_eq!(key(&read), key(&built_in));
}

#[test]
fn links_in_a_recipe_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    fs_err::create_dir_all(base.join("files")).unwrap();
    fs_err::write(base.join(RECIPE_FILE), BASE).unwrap();
    Cookbook::read(folder.path()).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", base.join("files/x")).unwrap();
    let message = Cookbook::read(folder.path()).unwrap_err().to_string();
    assert!(
        message.contains("`base`") && message.contains("files/x"),
        "{message}"
    );
}
