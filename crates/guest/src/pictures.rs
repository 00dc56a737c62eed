//! Pictures of the screen that wait to be fetched by a URL: the last few, for some minutes, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_guest_api::PICTURE_BYTES_MAX;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use rand::RngExt;
use subtle::ConstantTimeEq;

use crate::guest::Guest;

/// How long a picture is kept.
pub const KEPT_TIME: Duration = Duration::from_secs(600);

/// How many are kept, and how large they may be together. The oldest go first.
const KEPT_MAX: usize = 8;
const KEPT_BYTES_MAX: usize = PICTURE_BYTES_MAX;

/// Bytes of a picture's id, which is a secret.
const ID_BYTES: usize = 32;

/// The pictures of a session.
#[derive(Debug, Default)]
pub struct Pictures {
    kept: Mutex<VecDeque<Kept>>,
}

#[derive(Debug)]
struct Kept {
    id: String,
    png: Bytes,
    until: Instant,
}

impl Pictures {
    /// Keeps a picture, and tells the id by which it is found. `None` if it is too large.
    pub fn keep(&self, png: Bytes) -> Option<String> {
        self.keep_at(Instant::now(), png)
    }

    fn keep_at(&self, now: Instant, png: Bytes) -> Option<String> {
        if png.len() > PICTURE_BYTES_MAX {
            return None;
        }
        let secret: [u8; ID_BYTES] = rand::rng().random();
        let id = URL_SAFE_NO_PAD.encode(secret);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|picture| picture.until > now);
        kept.push_back(Kept {
            id: id.clone(),
            png,
            until: now + KEPT_TIME,
        });
        let bytes = |kept: &VecDeque<Kept>| kept.iter().map(|picture| picture.png.len()).sum::<usize>();
        while kept.len() > KEPT_MAX || bytes(&kept) > KEPT_BYTES_MAX {
            kept.pop_front();
        }
        Some(id)
    }

    /// The picture of this id, if it is still kept. Takes the same time whatever the id holds.
    fn find(&self, now: Instant, id: &str) -> Option<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|picture| picture.until > now);
        let mut found = None;
        for picture in &*kept {
            if picture.id.as_bytes().ct_eq(id.as_bytes()).into() {
                found = Some(picture.png.clone());
            }
        }
        found
    }
}

/// Answers with a picture.
pub async fn send(State(guest): State<Guest>, Path(id): Path<String>) -> Response {
    guest.clock.touch();
    match guest.pictures.find(Instant::now(), &id) {
        Some(png) => ([(CONTENT_TYPE, "image/png")], png).into_response(),
        None => {
            let minutes = KEPT_TIME.as_secs() / 60;
            let text = format!(
                "there is no picture at this URL: the last {KEPT_MAX} are kept, for {minutes} minutes; \
                 `system_screenshot` takes a new one"
            );
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(size: usize) -> Bytes {
        Bytes::from(vec![7; size])
    }

    #[test]
    fn a_picture_is_found_by_its_id_until_its_time_is_over() {
        let (pictures, now) = (Pictures::default(), Instant::now());
        let first = pictures.keep_at(now, picture(1)).unwrap();
        let second = pictures.keep_at(now + KEPT_TIME / 2, picture(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(pictures.find(now, &first), Some(picture(1)));
        for wrong in ["", &first[1..], &format!("{first}A")] {
            assert_eq!(pictures.find(now, wrong), None, "{wrong}");
        }
        assert_eq!(pictures.find(now + KEPT_TIME, &first), None);
        assert_eq!(pictures.find(now + KEPT_TIME, &second), Some(picture(2)));
    }

    #[test]
    fn the_oldest_make_room() {
        let (pictures, now) = (Pictures::default(), Instant::now());
        let ids: Vec<_> = (0..=KEPT_MAX)
            .map(|size| pictures.keep_at(now, picture(size)).unwrap())
            .collect();
        assert_eq!(pictures.find(now, &ids[0]), None);
        assert!(pictures.find(now, &ids[1]).is_some());
        let large = pictures.keep_at(now, picture(KEPT_BYTES_MAX)).unwrap();
        assert!(pictures.find(now, &large).is_some());
        assert_eq!(pictures.find(now, &ids[KEPT_MAX]), None);
        assert_eq!(pictures.keep_at(now, picture(PICTURE_BYTES_MAX + 1)), None);
    }
}
