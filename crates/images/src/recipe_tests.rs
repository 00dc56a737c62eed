//! Tests of `recipe`.

use super::*;

const BASE: &str = r#"
names = ["tiny-1"]
[debian]
suite = "trixie"
mirror = "http://deb.debian.org/debian"
security_mirror = "http://deb.debian.org/debian-security"
packages = ["less", "g++", "libc6.1-dev"]
[user]
name = "user"
uid = 1000
gid = 1000
home = "/home/user"
"#;

fn files(toml: &str, others: &[(&str, &str)]) -> RecipeFiles {
    others
        .iter()
        .chain(&[(RECIPE_FILE, toml)])
        .map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec()))
        .collect()
}

/// The message for a recipe, its causes included.
fn refusal(toml: &str, others: &[(&str, &str)]) -> String {
    let error = Recipe::parse("tiny", &files(toml, others)).unwrap_err();
    match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[test]
fn a_recipe_is_read_whole() {
    let toml = r#"
        from = "base"
        languages = ["python"]
        [python]
        version = "3.13"
        requirements = "pins.txt"
        [modes]
        "/usr/bin/x" = "0755"
        [desktop]
        command = "/usr/bin/x"
        [limits]
        pids = 7
    "#;
    let others = [
        ("pins.txt", "a==1"),
        ("files/usr/bin/x", "#!"),
        ("files/etc/y", "y"),
        ("setup.sh", "true"),
    ];
    let recipe = Recipe::parse("top", &files(toml, &others)).unwrap();
    assert_eq!(recipe.from.as_deref(), Some("base"));
    assert_eq!(recipe.python.unwrap().requirements, b"a==1");
    assert_eq!(recipe.setup.as_deref(), Some(&b"true"[..]));
    assert_eq!(
        recipe.limits,
        LimitsPart {
            pids: Some(7),
            ..LimitsPart::default()
        }
    );
    let overlay: Vec<_> = recipe
        .overlay
        .iter()
        .map(|file| (file.path.as_str(), file.mode))
        .collect();
    assert_eq!(overlay, [("/etc/y", 0o644), ("/usr/bin/x", 0o755)]);
}

#[test]
fn a_refusal_names_recipe_and_field() {
    let replace = |from: &str, to: &str| BASE.replace(from, to);
    let cases = [
        (replace("tiny-1", "../tiny"), "names"),
        (replace("\"trixie\"", "\"tri xie\""), "debian.suite"),
        (replace("suite = \"trixie\"", ""), "debian.suite"),
        (replace("names", "from = \"base\"\nnames"), "debian.suite"),
        (replace("\"less\"", "\"-o=Dir=/\""), "debian.packages"),
        (replace("\"less\"", "\"./x.deb\""), "debian.packages"),
        (replace("uid = 1000", "uid = 0"), "user.uid"),
        (replace("gid = 1000", "gid = 65535"), "user.gid"),
        (replace("/home/user", "home"), "user.home"),
        (replace("/home/user", "/home/../root"), "user.home"),
        (format!("{BASE}[limits]\ncpus = 0.0"), "limits.cpus"),
        (format!("{BASE}[limits]\nmemory_bytes = 0"), "limits.memory_bytes"),
        (format!("{BASE}[desktop]\ncommand = \"x\""), "desktop.command"),
        (
            format!("{BASE}[python]\nversion = \"3\"\nrequirements = \"r\""),
            "python.version",
        ),
        (
            format!("{BASE}[python]\nversion = \"3.13\"\nrequirements = \"r\""),
            "python.requirements",
        ),
        (format!("{BASE}[modes]\n\"/x\" = \"0755\""), "modes"),
        (replace("names", "name"), "name"),
        (format!("{BASE}[limits]\npids = \"many\""), "pids"),
    ];
    for (toml, field) in cases {
        let message = refusal(&toml, &[]);
        assert!(
            message.contains("`tiny") && message.contains(field),
            "{field}: {message}"
        );
    }
}

#[test]
fn a_mode_has_four_octal_digits() {
    for mode in ["755", "0o755", "0888", "", "07777", "-755"] {
        let toml = format!("{BASE}[modes]\n\"/x\" = \"{mode}\"");
        let message = refusal(&toml, &[("files/x", "")]);
        assert!(
            message.contains("modes") && message.contains("/x"),
            "{mode}: {message}"
        );
    }
}

#[test]
fn a_folder_without_a_recipe_file_is_refused() {
    let error = Recipe::parse("tiny", &RecipeFiles::new()).unwrap_err();
    assert_eq!(error.to_string(), "recipe `tiny`: `recipe.toml` is not there");
}
