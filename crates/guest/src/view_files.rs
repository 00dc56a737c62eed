//! Files through the live view: what a person drops on the page lands on the desktop, what lies there can be taken away.
//!
//! In: a plain file name, or the path of a file right in one of [`FOLDERS`]. Links are followed with the rights of the
//! session's user, as its programs follow them; only plain files are opened.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use berth_guest_api::{ViewFile, ViewFiles, ViewUpload};
use http::{HeaderMap, StatusCode};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Deserialize;

use crate::files::{self, FileError};
use crate::guest::Guest;
use crate::transfer::{self, PART_PREFIX, Part, UploadError};

/// Where files for a live view are, below the home. Uploads go into the first.
const FOLDERS: [&str; 2] = ["Desktop", "Downloads"];

/// Longest name of a file, for the kernel.
const NAME_BYTES_MAX: usize = 255;

/// Files of one list.
const LISTED_MAX: usize = 500;

/// Entries of one folder that are looked at.
const SEEN_MAX: usize = 10_000;

/// Numbers that are tried for a name that is taken.
const NUMBERS_MAX: u32 = 1000;

/// What to read: one file, or the list.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    path: Option<String>,
}

/// What to call an upload.
#[derive(Debug, Deserialize)]
pub struct Named {
    name: String,
}

/// `GET`: what there is, or one file of it.
pub async fn download(
    State(guest): State<Guest>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let home = PathBuf::from(guest.home());
    let Some(path) = wanted.path else {
        let _running = guest.clock.run();
        return match guest.files.run(move || Ok(list(&home))).await {
            Ok(found) => Json(found).into_response(),
            Err(error) => transfer::refused(&error),
        };
    };
    match is_listed(&home, &path) {
        true => transfer::send(&guest, path, &headers).await,
        false => {
            let shown: String = path.chars().take(200).collect();
            let text = format!(
                "`path` is {shown:?}; allowed: a file right in {}",
                FOLDERS
                    .map(|folder| home.join(folder).display().to_string())
                    .join(" or ")
            );
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}

/// `PUT`: a new file on the desktop.
pub async fn upload(State(guest): State<Guest>, Query(Named { name }): Query<Named>, body: Body) -> Response {
    let _running = guest.clock.run();
    if !is_name(&name) {
        let shown: String = name.chars().take(100).collect();
        let text = format!(
            "`name` is {shown:?}; allowed: a plain file name of 1 to {NAME_BYTES_MAX} bytes, without a slash, not `.` or `..`"
        );
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    let folder = PathBuf::from(guest.home()).join(FOLDERS[0]);
    match receive(&guest, folder, name, body).await {
        Ok(done) => Json(done).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn receive(
    guest: &Guest,
    folder: PathBuf,
    name: String,
    body: Body,
) -> Result<ViewUpload, UploadError> {
    let target = folder.join(&name);
    let wanted = target.clone();
    let open = move || transfer::open_part(&folder, &wanted);
    let (file, part) = guest.files.run(open).await?;
    let mut upload = Part::new(&guest.files, file, part, target);
    let size = upload.fill(body).await?;
    let path = upload
        .appear(move |part, target| appear(part, target, &name))
        .await?;
    Ok(ViewUpload {
        path: path.display().to_string(),
        size,
    })
}

/// Gives `part` the name, or one with a number, without replacing anything. Where it is then.
fn appear(part: &Path, target: &Path, name: &str) -> Result<PathBuf, FileError> {
    for number in 1..=NUMBERS_MAX {
        let path = target.with_file_name(numbered(name, number));
        match renameat_with(CWD, part, CWD, &path, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(path),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(files::failed("write", &path, error.into())),
        }
    }
    Err(FileError::Occupied(target.display().to_string()))
}

/// `name` with a number before its extension, cut so that the kernel takes it; the first is the name itself.
fn numbered(name: &str, number: u32) -> String {
    if number == 1 {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.') {
        // An extension that leaves room for something before it.
        Some(at) if at > 0 && name.len() - at <= NAME_BYTES_MAX / 2 => name.split_at(at),
        _ => (name, ""),
    };
    let number = format!(" ({number})");
    let room = NAME_BYTES_MAX - extension.len() - number.len();
    let stem = &stem[..stem.floor_char_boundary(room)];
    format!("{stem}{number}{extension}")
}

fn is_name(name: &str) -> bool {
    let length = 1..=NAME_BYTES_MAX;
    length.contains(&name.len()) && !name.contains(['/', '\0']) && name != "." && name != ".."
}

/// Is it a path as the list has them?
fn is_listed(home: &Path, path: &str) -> bool {
    let path = Path::new(path);
    let folder = path.parent();
    path.file_name().is_some() && FOLDERS.iter().any(|known| folder == Some(&home.join(known)))
}

fn list(home: &Path) -> ViewFiles {
    let mut files: Vec<ViewFile> = Vec::new();
    let mut truncated = false;
    for folder in FOLDERS {
        // A folder that is missing, or may not be read, has nothing to offer.
        let Ok(mut entries) = std::fs::read_dir(home.join(folder)) else {
            continue;
        };
        let seen = entries.by_ref().take(SEEN_MAX).flatten();
        files.extend(seen.filter_map(|entry| described(folder, &entry.path())));
        truncated |= entries.next().is_some();
    }
    files.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| a.path.cmp(&b.path)));
    truncated |= files.len() > LISTED_MAX;
    files.truncate(LISTED_MAX);
    ViewFiles { files, truncated }
}

/// A plain file, also one that a link leads to. Names that are no UTF-8 cannot be asked for. Nothing is opened.
fn described(folder: &str, path: &Path) -> Option<ViewFile> {
    let name = path.file_name()?.to_str()?;
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() || name.starts_with(PART_PREFIX) {
        return None;
    }
    let modified = about
        .modified()
        .ok()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Some(ViewFile {
        name: name.to_owned(),
        folder: folder.to_owned(),
        path: path.to_str()?.to_owned(),
        size: about.len(),
        modified: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        for good in ["a", ".bashrc", "...", "a b\n", &"é".repeat(127)] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "/", "a\0", &"é".repeat(128)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_number_stands_before_the_extension_and_fits() {
        for (name, second) in [
            ("a.txt", "a (2).txt"),
            ("a", "a (2)"),
            (".bashrc", ".bashrc (2)"),
            ("a.", "a (2)."),
            ("...", ".. (2)."),
        ] {
            assert_eq!(numbered(name, 1), name);
            assert_eq!(numbered(name, 2), second);
        }
        let long = [
            "é".repeat(127),
            format!("{}.txt", "é".repeat(125)),
            format!("a.{}", "x".repeat(253)),
            format!("{}.{}", "é".repeat(64), "x".repeat(126)),
        ];
        for name in long {
            let numbered = numbered(&name, NUMBERS_MAX);
            assert!(is_name(&numbered) && numbered.contains("(1000)"), "{numbered}");
        }
    }

    #[test]
    fn a_list_has_plain_files_and_opens_none() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().unwrap();
        let desktop = home.path().join("Desktop");
        assert_eq!(list(home.path()).files, []);
        fs_err::create_dir_all(desktop.join("folder")).unwrap();
        fs_err::write(desktop.join("a.txt"), "abc").unwrap();
        fs_err::write(desktop.join(format!("{PART_PREFIX}1-0")), "half").unwrap();
        fs_err::write(desktop.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        symlink(desktop.join("a.txt"), desktop.join("link")).unwrap();
        symlink("/dev/zero", desktop.join("device")).unwrap();
        symlink("nowhere", desktop.join("dangling")).unwrap();
        symlink("loop", desktop.join("loop")).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, desktop.join("pipe"), kind, 0o600.into(), 0).unwrap();
        let found = list(home.path());
        let mut names: Vec<_> = found
            .files
            .iter()
            .map(|file| (file.name.as_str(), file.size))
            .collect();
        names.sort_unstable();
        assert_eq!(names, [("a.txt", 3), ("link", 3)]);
        assert!(!found.truncated && found.files.iter().all(|file| file.folder == "Desktop"));

        for number in 0..LISTED_MAX {
            fs_err::write(desktop.join(number.to_string()), "").unwrap();
        }
        let found = list(home.path());
        assert!(found.truncated && found.files.len() == LISTED_MAX);
    }

    #[test]
    fn what_is_there_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (part, target) = (folder.path().join("part"), folder.path().join("a.txt"));
        std::os::unix::fs::symlink("nowhere", folder.path().join("a (2).txt")).unwrap();
        for name in ["a.txt", "a (3).txt"] {
            fs_err::write(&part, name).unwrap();
            assert_eq!(appear(&part, &target, "a.txt").unwrap(), folder.path().join(name));
            assert_eq!(fs_err::read_to_string(folder.path().join(name)).unwrap(), name);
        }
    }

    #[test]
    fn only_what_can_be_listed_is_given_out() {
        let home = Path::new("/home/user");
        for good in ["/home/user/Desktop/a", "/home/user//Downloads/./a.txt"] {
            assert!(is_listed(home, good), "{good}");
        }
        for bad in [
            "",
            "a",
            "/etc/passwd",
            "/home/user/a",
            "/home/user/Desktop",
            "/home/user/Desktop/..",
            "/home/user/Desktop/../a",
            "/home/user/Desktop/b/a",
            "/home/user/Desktop/../Desktop/a",
            "Desktop/a",
        ] {
            assert!(!is_listed(home, bad), "{bad}");
        }
    }
}
