//! The live view's WebSocket: carries messages between a page and `berth-screen`, and starts the desktop for it.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_guest_api::{
    UnknownRight, VIEW_HELLO, VIEW_NAME, VIEW_RIGHTS, VIEW_TICKET, ViewRight, ViewRights, percent_decode,
};
use berth_screen::{Presence, Rights, Screen, Visitor};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::HeaderMap;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::desktop::DesktopError;
use crate::guest::Guest;

/// Longest message of a page: a text for the clipboard.
pub const RECEIVED_BYTES_MAX: usize = berth_screen::wire::page::MAX_MESSAGE_BYTES;

/// WebSocket close code for "the server cannot do this".
const CLOSE_FAILED: u16 = 1011;

/// WebSocket close code for "you broke the protocol".
const CLOSE_PROTOCOL: u16 = 1002;

/// How often is looked whether a page still answers, and how long its last message may take.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(5);

/// WebSocket close code for "try again later".
const CLOSE_BUSY: u16 = 1013;

/// A close reason holds at most 123 bytes.
const REASON_BYTES_MAX: usize = 120;

/// The capture of the desktop, kept while its X server lives.
#[derive(Debug, Default)]
pub struct Views {
    screen: Mutex<Option<(u64, Screen)>>,
}

/// Why the desktop cannot be seen or driven.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// It does not run.
    #[error(transparent)]
    Desktop(#[from] DesktopError),
    /// It cannot be captured.
    #[error("could not capture the desktop: {0}")]
    Screen(#[from] berth_screen::ScreenError),
    /// The thread that connected is gone.
    #[error("the capture of the desktop was lost")]
    Lost,
}

impl Views {
    /// The screen, with the desktop started if it does not run.
    pub async fn open(&self, guest: &Guest) -> Result<Screen, ViewError> {
        let mut screen = self.screen.lock().await;
        let generation = guest.desktop.ensure().await?;
        if let Some((of, screen)) = &*screen
            && *of == generation
            && !screen.is_closed()
        {
            return Ok(screen.clone());
        }
        let (generation, opened) = match connect(guest).await {
            Ok(opened) => (generation, opened),
            // A server that has just died is taken for alive until the news of its end has come.
            Err(error) if guest.desktop.has_ended(generation).await => {
                tracing::debug!(%error, "the X server had ended");
                (guest.desktop.ensure().await?, connect(guest).await?)
            }
            Err(error) => return Err(error),
        };
        crate::sound::offer(&opened, guest);
        *screen = Some((generation, opened.clone()));
        Ok(opened)
    }
}

/// Who looks, for the API.
#[derive(Debug, Default, Serialize)]
pub struct Viewers {
    viewers: Vec<Presence>,
    agent: AgentState,
}

/// How it stands with the agent.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentState {
    /// A person has taken over: its mouse and keyboard are refused.
    taken_over: bool,
}

impl Views {
    /// Who looks now; nobody while there is no desktop, which is not started for this.
    pub async fn viewers(&self) -> Viewers {
        let screen = self.screen.lock().await;
        let Some((_, screen)) = &*screen else {
            return Viewers::default();
        };
        let control = screen.control().borrow().clone();
        Viewers {
            viewers: control.viewers,
            agent: AgentState {
                taken_over: control.taken_over,
            },
        }
    }
}

/// Who opens a view, as the edge says.
pub fn visitor(headers: &HeaderMap) -> Result<Visitor, UnknownRight> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let rights = text(VIEW_RIGHTS).map_or(Ok(ViewRights::ALL), ViewRights::parse)?;
    Ok(Visitor {
        name: text(VIEW_NAME).and_then(percent_decode).unwrap_or_default(),
        ticket: text(VIEW_TICKET).unwrap_or_default().to_owned(),
        rights: Rights {
            control: rights.has(ViewRight::Control),
            clipboard_in: rights.has(ViewRight::ClipboardIn),
            clipboard_out: rights.has(ViewRight::ClipboardOut),
            files: rights.has(ViewRight::Files),
        },
    })
}

/// What the page said with its URL: its first message, or bytes that are none.
pub fn first_message(headers: &HeaderMap) -> Option<Vec<u8>> {
    let hello = headers.get(VIEW_HELLO)?;
    Some(URL_SAFE_NO_PAD.decode(hello).unwrap_or_default())
}

async fn connect(guest: &Guest) -> Result<Screen, ViewError> {
    let display = guest.desktop.display().to_owned();
    let opened = tokio::task::spawn_blocking(move || Screen::open(&display)).await;
    Ok(opened.map_err(|_| ViewError::Lost)??)
}

/// Serves one page until it goes or the capture ends. A quiet one is not counted; a recorder's is told of `runs` too.
pub async fn serve(
    mut socket: WebSocket,
    guest: Guest,
    visitor: Visitor,
    first: Option<Vec<u8>>,
    quiet: bool,
    mut runs: Option<Receiver<Bytes>>,
) {
    let _viewing = (!quiet).then(|| guest.clock.view());
    // Opening a view is a use of the session; watching it is not.
    if !quiet {
        guest.clock.touch();
    }
    let screen = match guest.views.open(&guest).await {
        Ok(screen) => screen,
        Err(error) => {
            tracing::warn!(%error, "no live view");
            let _ = socket.send(close(CLOSE_FAILED, &error.to_string())).await;
            return;
        }
    };
    let viewer = screen.attach(visitor);
    if let Some(Err(error)) = first.map(|message| viewer.receive(&message)) {
        let _ = socket.send(close(CLOSE_PROTOCOL, &error.to_string())).await;
        return;
    }
    let (mut to_page, mut from_page) = socket.split();
    // Side by side: a link that is full of pictures must not hold up what the person does.
    let last = {
        let show = async {
            let mut shown = false;
            loop {
                let bytes = tokio::select! {
                    bytes = viewer.next() => bytes,
                    run = next_run(&mut runs) => Some(run),
                };
                let Some(bytes) = bytes else { break };
                shown = true;
                to_page.send(Message::Binary(bytes)).await.ok()?;
            }
            Some(match shown || screen.is_closed() {
                true => close(CLOSE_FAILED, "the desktop has ended; reconnect to start it again"),
                false => close(CLOSE_BUSY, "this desktop has as many viewers as it can show"),
            })
        };
        let listen = async {
            loop {
                match from_page.next().await {
                    Some(Ok(Message::Binary(bytes))) => match viewer.receive(&bytes) {
                        Ok(received) if received.input => guest.clock.touch(),
                        Ok(_) => {}
                        Err(error) => return Some(close(CLOSE_PROTOCOL, &error.to_string())),
                    },
                    Some(Ok(Message::Text(_))) => {
                        return Some(close(CLOSE_PROTOCOL, "text messages have no meaning here"));
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                }
            }
        };
        let forsaken = async {
            while !viewer.is_forsaken() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Some(close(
                CLOSE_BUSY,
                "this page did not answer; reconnect if somebody is there",
            ))
        };
        tokio::select! {
            last = show => last,
            last = listen => last,
            last = forsaken => last,
        }
    };
    // Its place is free before the last word is out, which a page that is gone takes never.
    drop(viewer);
    if let Some(last) = last {
        let _ = tokio::time::timeout(LAST_WORD_TIMEOUT, to_page.send(last)).await;
    }
}

/// The next run that a recorder is told of; those that it was too slow for are left out.
async fn next_run(runs: &mut Option<Receiver<Bytes>>) -> Bytes {
    while let Some(listening) = runs {
        match listening.recv().await {
            Ok(run) => return run,
            Err(RecvError::Lagged(missed)) => tracing::debug!("a recorder has missed {missed} runs"),
            Err(RecvError::Closed) => *runs = None,
        }
    }
    std::future::pending().await
}

fn close(code: u16, reason: &str) -> Message {
    let reason = reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned();
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_says_who_looks() {
        assert_eq!(
            visitor(&HeaderMap::new()),
            Ok(Visitor::owner()),
            "an older edge says nothing"
        );
        let mut headers = HeaderMap::new();
        headers.insert(VIEW_RIGHTS, "view,clipboard-out".parse().unwrap());
        headers.insert(VIEW_NAME, "J%C3%B6rg%20B".parse().unwrap());
        headers.insert(VIEW_TICKET, "vt-1".parse().unwrap());
        let jorg = visitor(&headers).unwrap();
        assert_eq!((&*jorg.name, &*jorg.ticket), ("J\u{f6}rg B", "vt-1"));
        assert!(!jorg.rights.control && jorg.rights.clipboard_out && !jorg.rights.clipboard_in);
        headers.insert(VIEW_RIGHTS, "everything".parse().unwrap());
        assert!(visitor(&headers).is_err(), "an unknown right is none");
    }
}
