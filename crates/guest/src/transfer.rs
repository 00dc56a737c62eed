//! Whole files as they are: read and written as a stream, without a tool's envelope around them.
//!
//! In: a path, for a download perhaps a range, for an upload a body of any length. Memory is bounded by a few pieces.
//! A file that is written appears when the last byte has come: an upload that breaks leaves what was there.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::files::{self, FileError, Files};
use crate::guest::Guest;

/// Bytes that are read or written at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Pieces that are read ahead of the one that is being sent.
const AHEAD: usize = 2;

/// Files of the kernel say that they are empty; so much of them is read.
const KERNEL_FILE_BYTES_MAX: u64 = 16 << 20;

/// What is asked for.
#[derive(Debug, Deserialize)]
pub struct Place {
    path: String,
}

/// `GET`: the bytes of a file, or those of a `Range`.
pub async fn download(
    State(guest): State<Guest>,
    Query(place): Query<Place>,
    headers: HeaderMap,
) -> Response {
    send(&guest, place.path, &headers).await
}

/// The answer to a download of `path`.
pub(crate) async fn send(guest: &Guest, path: String, headers: &HeaderMap) -> Response {
    let running = guest.clock.run();
    let range = headers
        .get(RANGE)
        .and_then(|range| range.to_str().ok())
        .map(str::to_owned);
    let (file, size) = match open(&guest.files, &path).await {
        Ok(opened) => opened,
        Err(error) => return refused(&error),
    };
    if size == 0 {
        let read = guest.files.run(move || read_whole(&file, &path)).await;
        return read.map_or_else(|error| refused(&error), |bytes| whole(bytes.into()));
    }
    let (begin, end) = match range
        .as_deref()
        .map_or(Some((0, size)), |range| wanted(range, size))
    {
        Some(window) => window,
        None => {
            let unsatisfied = [(CONTENT_RANGE, format!("bytes */{size}"))];
            let text =
                format!("`Range` is outside of the file, which has {size} bytes; allowed: bytes=FIRST-LAST");
            return (StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied, text).into_response();
        }
    };
    let (file, files) = (Arc::new(file), guest.files.clone());
    let pieces = stream::iter((begin..end).step_by(PIECE_BYTES as usize)).map(move |at| {
        let (file, path) = (Arc::clone(&file), path.clone());
        let length = PIECE_BYTES.min(end - at) as usize;
        let files = files.clone();
        async move { files.run(move || read_piece(&file, at, length, &path)).await }
    });
    // Until the last piece is sent the session is in use.
    let body = pieces.buffered(AHEAD).inspect(move |_| {
        let _ = &running;
    });
    let mut response = whole(Body::from_stream(body));
    let head = response.headers_mut();
    head.insert(CONTENT_LENGTH, (end - begin).into());
    if range.is_some() {
        if let Ok(range) = format!("bytes {begin}-{}/{size}", end - 1).parse() {
            head.insert(CONTENT_RANGE, range);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// `PUT`: a file with the body's bytes, in place of one that may be there. Missing parents are made.
pub async fn upload(State(guest): State<Guest>, Query(place): Query<Place>, body: Body) -> Response {
    let _running = guest.clock.run();
    match receive(&guest.files, &place.path, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => error.into_response(),
    }
}

pub(crate) enum UploadError {
    File(FileError),
    /// The caller's connection broke.
    Body,
}

impl From<FileError> for UploadError {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl IntoResponse for UploadError {
    fn into_response(self) -> Response {
        match self {
            UploadError::File(error) => refused(&error),
            UploadError::Body => (
                StatusCode::BAD_REQUEST,
                "the upload broke off; nothing was changed",
            )
                .into_response(),
        }
    }
}

async fn open(files: &Files, path: &str) -> Result<(File, u64), FileError> {
    let path = files::absolute(path)?;
    files
        .run(move || {
            let file = files::open(&path, OpenOptions::new().read(true), "read")?;
            let size = file
                .metadata()
                .map_err(|error| files::failed("read", &path, error))?
                .len();
            Ok((file, size))
        })
        .await
}

fn read_whole(file: &File, path: &str) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let read = file.take(KERNEL_FILE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(|error| files::failed("read", Path::new(path), error))?;
    Ok(bytes)
}

fn read_piece(file: &File, at: u64, length: usize, path: &str) -> Result<Bytes, FileError> {
    let mut bytes = vec![0; length];
    // A file that became shorter meanwhile ends here with an error: the length was promised.
    file.read_exact_at(&mut bytes, at)
        .map_err(|error| files::failed("read", Path::new(path), error))?;
    Ok(bytes.into())
}

fn whole(body: Body) -> Response {
    let head = [
        (CONTENT_TYPE, "application/octet-stream"),
        (ACCEPT_RANGES, "bytes"),
    ];
    (head, body).into_response()
}

pub(crate) fn refused(error: &FileError) -> Response {
    (StatusCode::BAD_REQUEST, error.to_string()).into_response()
}

/// The bytes that a `Range` with one window means: from the first to before the last. `None` when there are none.
fn wanted(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (begin, end) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (
            first.parse().ok()?,
            last.parse::<u64>().ok()?.saturating_add(1).min(size),
        ),
    };
    (begin < end).then_some((begin, end))
}

/// How the name of a file begins that is being written.
pub(crate) const PART_PREFIX: &str = ".berth-upload-";

/// A file that is being written, in the directory where it will appear. Removed unless it is finished.
pub(crate) struct Part {
    file: Arc<File>,
    part: PathBuf,
    /// Where it should appear, for messages.
    target: PathBuf,
    files: Files,
    finished: bool,
}

async fn receive(files: &Files, path: &str, body: Body) -> Result<(), UploadError> {
    let path = files::absolute(path)?;
    let (file, part, target) = files.run(move || begin(&path)).await?;
    let mut upload = Part::new(files, file, part, target);
    upload.fill(body).await?;
    upload.finish().await?;
    Ok(())
}

/// Opens the part beside what `path` leads to.
fn begin(path: &Path) -> Result<(File, PathBuf, PathBuf), FileError> {
    // Through links: the file is replaced, not the link that leads to it.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = std::fs::metadata(&target).ok();
    if let Some(kind) = before
        .as_ref()
        .and_then(|about| files::kind_of(about.file_type()))
    {
        return Err(FileError::Kind {
            path: path.display().to_string(),
            kind,
            wanted: "a plain file",
        });
    }
    let (file, part) = open_part(target.parent().unwrap_or(Path::new("/")), path)?;
    if let Some(before) = before {
        let mode = std::fs::Permissions::from_mode(before.permissions().mode() & 0o7777);
        file.set_permissions(mode)
            .map_err(|error| files::failed("write", path, error))?;
    }
    Ok((file, part, target))
}

/// Opens a part in `folder`, which is made if it is missing, for what will be `path`.
pub(crate) fn open_part(folder: &Path, path: &Path) -> Result<(File, PathBuf), FileError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    files::make_directory(folder)?;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let part = folder.join(format!("{PART_PREFIX}{}-{number}", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)
        .map_err(|error| files::failed("write", path, error))?;
    Ok((file, part))
}

impl Part {
    pub(crate) fn new(files: &Files, file: File, part: PathBuf, target: PathBuf) -> Self {
        Self {
            file: Arc::new(file),
            part,
            target,
            files: files.clone(),
            finished: false,
        }
    }

    /// Writes all of a body; how many bytes.
    pub(crate) async fn fill(&self, body: Body) -> Result<u64, UploadError> {
        let mut body = body.into_data_stream();
        let mut waiting = BytesMut::new();
        let mut size = 0;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(|_| UploadError::Body)?;
            size += bytes.len() as u64;
            waiting.extend_from_slice(&bytes);
            if waiting.len() as u64 >= PIECE_BYTES {
                self.write(waiting.split().freeze()).await?;
            }
        }
        self.write(waiting.freeze()).await?;
        Ok(size)
    }

    async fn write(&self, bytes: Bytes) -> Result<(), FileError> {
        let (file, target) = (Arc::clone(&self.file), self.target.clone());
        let write = move || {
            (&*file)
                .write_all(&bytes)
                .map_err(|error| files::failed("write", &target, error))
        };
        self.files.run(write).await
    }

    /// Lets the file appear, in place of one that may be there.
    async fn finish(&mut self) -> Result<(), FileError> {
        self.appear(|part, target| {
            rustix::fs::rename(part, target).map_err(|error| files::failed("write", target, error.into()))
        })
        .await
    }

    /// Lets the file appear by `rename`, which is given the part and the target.
    pub(crate) async fn appear<T: Send + 'static>(
        &mut self,
        rename: impl FnOnce(&Path, &Path) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let (part, target) = (self.part.clone(), self.target.clone());
        let done = self.files.run(move || rename(&part, &target)).await?;
        self.finished = true;
        Ok(done)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let (files, part) = (self.files.clone(), self.part.clone());
        tokio::spawn(async move {
            let removed = files.run(move || Ok(std::fs::remove_file(&part))).await;
            if let Ok(Err(error)) | Err(FileError::Io { cause: error, .. }) = removed {
                tracing::warn!(%error, "the part of an upload that broke could not be removed");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_one_window_inside_the_file() {
        for (range, window) in [
            ("bytes=0-0", Some((0, 1))),
            ("bytes=2-4", Some((2, 5))),
            ("bytes=7-", Some((7, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-99", Some((0, 10))),
            ("bytes=5-99", Some((5, 10))),
            ("bytes=10-", None),
            ("bytes=4-2", None),
            ("bytes=-0", None),
            ("bytes=a-b", None),
            ("bytes=0-18446744073709551615", Some((0, 10))),
            ("lines=1-2", None),
        ] {
            assert_eq!(wanted(range, 10), window, "{range}");
        }
    }
}
