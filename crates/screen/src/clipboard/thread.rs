//! The clipboard thread: offers what pages bring, and reads what applications copy, as ICCCM says.
//!
//! Applications are hostile: what they offer is read within bounds and a time limit, one thing at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{debug, info};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ReplyError, ReplyOrIdError};
use x11rb::protocol::Event;
use x11rb::protocol::xfixes::{ConnectionExt as _, SelectionEventMask};
use x11rb::protocol::xproto::*;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::Content;
use crate::connect::connect;
use crate::core::Core;
use crate::error::ScreenError;

/// Bytes of a copied text, and of a picture.
const TEXT_BYTES_MAX: usize = 1 << 20;
const PNG_BYTES_MAX: usize = 16 << 20;

/// How long an application may take to hand over what it copied.
const READ_TIME_MAX: Duration = Duration::from_secs(2);

/// Units of four bytes that are read of a property at a time.
const READ_UNITS: u32 = 64 << 10;

x11rb::atom_manager! {
    /// The names that are spoken of.
    Atoms: AtomsCookie {
        CLIPBOARD,
        TARGETS,
        INCR,
        UTF8_STRING,
        TEXT_UTF8: b"text/plain;charset=utf-8",
        TEXT_PLAIN: b"text/plain",
        PNG: b"image/png",
        BERTH_CLIPBOARD,
    }
}

/// The thread's state.
pub struct Keeper {
    core: Arc<Core>,
    connection: RustConnection,
    window: Window,
    atoms: Atoms,
    /// What is offered to applications.
    offered: Option<Box<str>>,
    reading: Option<Reading>,
}

/// What is being asked of an application.
struct Reading {
    target: Atom,
    until: Instant,
    /// It comes in pieces.
    pieces: Option<Vec<u8>>,
}

/// Why the thread ended.
#[derive(Debug, thiserror::Error)]
enum ClipboardError {
    #[error("the X server refused a request, or is gone")]
    Request(#[from] ReplyError),
    #[error("could not wait for the X server")]
    Wait(#[from] std::io::Error),
}

impl From<x11rb::errors::ConnectionError> for ClipboardError {
    fn from(error: x11rb::errors::ConnectionError) -> Self {
        Self::Request(error.into())
    }
}

impl Keeper {
    /// Connects, and asks to be told of what is copied.
    pub fn open(display: &str, core: Arc<Core>) -> Result<Self, ScreenError> {
        let (connection, screen) = connect(display)?;
        let root = connection.setup().roots[screen].root;
        let prepared = prepare(&connection, root);
        let (window, atoms) = prepared.map_err(|source| ScreenError::Request {
            step: "prepare the clipboard",
            source,
        })?;
        Ok(Self {
            core,
            connection,
            window,
            atoms,
            offered: None,
            reading: None,
        })
    }

    /// Runs until the last handle or the X server is gone.
    pub fn run(mut self) {
        match self.serve() {
            Ok(()) => debug!("the screen's clipboard ends"),
            Err(error) => info!(
                error = &error as &dyn std::error::Error,
                "the screen's clipboard is gone"
            ),
        }
    }

    fn serve(&mut self) -> Result<(), ClipboardError> {
        while !self.core.is_stopping() {
            self.offer_wanted()?;
            let mut any = false;
            while let Some(event) = self.connection.poll_for_event()? {
                any = true;
                self.handle(event)?;
            }
            self.connection.flush()?;
            if any {
                continue;
            }
            let now = Instant::now();
            if self.reading.as_ref().is_some_and(|reading| reading.until <= now) {
                debug!("an application took too long to hand over what it copied");
                self.reading = None;
            }
            let timeout = self.reading.as_ref().map(|reading| reading.until - now);
            self.core
                .clipboard
                .wake
                .sleep(self.connection.stream(), timeout)?;
        }
        Ok(())
    }

    /// Makes the text of a page the clipboard's, and the selection's, which the middle button pastes.
    fn offer_wanted(&mut self) -> Result<(), ClipboardError> {
        let (text, asked) = {
            let mut state = self.core.clipboard.state();
            (state.wanted.take(), state.asked)
        };
        let Some(text) = text else { return Ok(()) };
        self.offered = Some(text);
        self.reading = None;
        for selection in [self.atoms.CLIPBOARD, AtomEnum::PRIMARY.into()] {
            self.connection
                .set_selection_owner(self.window, selection, x11rb::CURRENT_TIME)?;
        }
        self.connection.sync()?;
        self.core.clipboard.state().done = asked;
        self.core.clipboard.owned.notify_all();
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), ClipboardError> {
        let atoms = self.atoms;
        match event {
            Event::XfixesSelectionNotify(event)
                if event.selection == atoms.CLIPBOARD && event.owner != self.window =>
            {
                self.offered = None;
                self.reading = None;
                if event.owner != x11rb::NONE && self.core.clipboard.is_read.load(Ordering::Acquire) {
                    self.ask_for(atoms.TARGETS)?;
                }
            }
            Event::SelectionNotify(event) if self.awaits(event.target) => self.take(event.property)?,
            Event::PropertyNotify(event)
                if (event.window, event.atom) == (self.window, atoms.BERTH_CLIPBOARD)
                    && event.state == Property::NEW_VALUE
                    && self.awaits_pieces() =>
            {
                self.take_piece()?;
            }
            Event::SelectionRequest(event) => self.answer(&event)?,
            Event::Error(error) => debug!(?error, "the X server refused a request of the clipboard"),
            _ => {}
        }
        Ok(())
    }

    fn awaits(&self, target: Atom) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|reading| reading.target == target)
    }

    fn awaits_pieces(&self) -> bool {
        self.reading
            .as_ref()
            .is_some_and(|reading| reading.pieces.is_some())
    }

    fn ask_for(&mut self, target: Atom) -> Result<(), ClipboardError> {
        let (selection, property) = (self.atoms.CLIPBOARD, self.atoms.BERTH_CLIPBOARD);
        self.connection.delete_property(self.window, property)?;
        self.connection
            .convert_selection(self.window, selection, target, property, x11rb::CURRENT_TIME)?;
        self.reading = Some(Reading {
            target,
            until: Instant::now() + READ_TIME_MAX,
            pieces: None,
        });
        Ok(())
    }

    /// An application has answered what it was asked for.
    fn take(&mut self, property: Atom) -> Result<(), ClipboardError> {
        let Some(reading) = self.reading.take().filter(|_| property != x11rb::NONE) else {
            return Ok(());
        };
        let (kind, value) = self.read(limit_of(&self.atoms, reading.target))?;
        if kind == self.atoms.INCR {
            // Reading it has deleted it, which asks for the first piece.
            self.reading = Some(Reading {
                pieces: Some(Vec::new()),
                until: Instant::now() + READ_TIME_MAX,
                ..reading
            });
            return Ok(());
        }
        match value {
            Some(value) => self.taken(reading.target, value),
            None => Ok(()),
        }
    }

    /// The next piece of something large is there; an empty one is the last.
    fn take_piece(&mut self) -> Result<(), ClipboardError> {
        let Some(mut reading) = self.reading.take() else {
            return Ok(());
        };
        let mut pieces = reading.pieces.take().unwrap_or_default();
        let limit = limit_of(&self.atoms, reading.target);
        match self.read(limit - pieces.len())? {
            (_, Some(piece)) if piece.is_empty() => self.taken(reading.target, pieces),
            (_, Some(piece)) => {
                pieces.extend(piece);
                self.reading = Some(Reading {
                    pieces: Some(pieces),
                    until: Instant::now() + READ_TIME_MAX,
                    ..reading
                });
                Ok(())
            }
            (_, None) => {
                debug!("what an application copied is too large for the clipboard of a page");
                Ok(())
            }
        }
    }

    /// The property's type and value, which is then deleted; no value if it is longer than `limit`.
    fn read(&self, limit: usize) -> Result<(Atom, Option<Vec<u8>>), ClipboardError> {
        let mut value = Vec::new();
        loop {
            // Counted in units of four bytes; the limit keeps it far below what fits.
            let offset = (value.len() / 4) as u32;
            let property = self.atoms.BERTH_CLIPBOARD;
            let part = self
                .connection
                .get_property(false, self.window, property, AtomEnum::ANY, offset, READ_UNITS)?
                .reply()?;
            if value.len() + part.value.len() > limit || part.bytes_after as usize > limit {
                self.connection.delete_property(self.window, property)?;
                return Ok((part.type_, None));
            }
            value.extend(part.value);
            if part.bytes_after == 0 {
                self.connection.delete_property(self.window, property)?;
                return Ok((part.type_, Some(value)));
            }
        }
    }

    fn taken(&mut self, target: Atom, value: Vec<u8>) -> Result<(), ClipboardError> {
        let atoms = self.atoms;
        if target == atoms.TARGETS {
            let offered: Vec<Atom> = value
                .chunks_exact(4)
                .map(|four| u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
                .collect();
            // Who copies a formatted text often offers a picture of it as well: text comes first.
            let wanted = [
                atoms.UTF8_STRING,
                atoms.TEXT_UTF8,
                atoms.PNG,
                AtomEnum::STRING.into(),
            ];
            return match wanted.into_iter().find(|target| offered.contains(target)) {
                Some(target) => self.ask_for(target),
                None => Ok(()),
            };
        }
        let content = if target == atoms.PNG {
            Content::Png(Bytes::from(value))
        } else if target == u32::from(AtomEnum::STRING) {
            // Latin-1, whose bytes are Unicode's first characters.
            Content::Text(value.into_iter().map(char::from).collect::<String>().into())
        } else {
            match String::from_utf8(value) {
                Ok(text) => Content::Text(text.into()),
                Err(error) => Content::Text(String::from_utf8_lossy(error.as_bytes()).into_owned().into()),
            }
        };
        {
            let mut state = self.core.clipboard.state();
            state.content = content;
            state.version += 1;
        }
        self.core.capture.ring();
        Ok(())
    }

    /// An application pastes.
    fn answer(&mut self, request: &SelectionRequestEvent) -> Result<(), ClipboardError> {
        let property = match &self.offered {
            Some(text) => self.hand_over(request, text)?,
            None => x11rb::NONE,
        };
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property,
        };
        self.connection
            .send_event(false, request.requestor, EventMask::NO_EVENT, answer)?;
        Ok(())
    }

    /// Writes what was asked for to the asker's property. Gives the property, or none if there is no such thing.
    fn hand_over(&self, request: &SelectionRequestEvent, text: &str) -> Result<Atom, ClipboardError> {
        let atoms = &self.atoms;
        // Old applications name none.
        let property = if request.property == x11rb::NONE {
            request.target
        } else {
            request.property
        };
        let (mode, requestor) = (PropMode::REPLACE, request.requestor);
        let string = Atom::from(AtomEnum::STRING);
        let utf8 = [atoms.UTF8_STRING, atoms.TEXT_UTF8, atoms.TEXT_PLAIN];
        if request.target == atoms.TARGETS {
            let targets = [
                atoms.TARGETS,
                atoms.UTF8_STRING,
                atoms.TEXT_UTF8,
                atoms.TEXT_PLAIN,
                string,
            ];
            self.connection
                .change_property32(mode, requestor, property, AtomEnum::ATOM, &targets)?;
        } else if utf8.contains(&request.target) {
            if text.len() + 64 > self.connection.maximum_request_bytes() {
                return Ok(x11rb::NONE);
            }
            self.connection
                .change_property8(mode, requestor, property, request.target, text.as_bytes())?;
        } else if request.target == string {
            let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            self.connection
                .change_property8(mode, requestor, property, string, &latin)?;
        } else {
            return Ok(x11rb::NONE);
        }
        Ok(property)
    }
}

fn limit_of(atoms: &Atoms, target: Atom) -> usize {
    if target == atoms.PNG {
        PNG_BYTES_MAX
    } else {
        TEXT_BYTES_MAX
    }
}

fn prepare(connection: &RustConnection, root: Window) -> Result<(Window, Atoms), ReplyOrIdError> {
    connection.xfixes_query_version(5, 0)?.reply()?;
    let atoms = Atoms::new(connection)?.reply()?;
    let window = connection.generate_id()?;
    let values = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
    let class = WindowClass::INPUT_ONLY;
    connection.create_window(0, window, root, -1, -1, 1, 1, 0, class, 0, &values)?;
    let mask = SelectionEventMask::SET_SELECTION_OWNER
        | SelectionEventMask::SELECTION_WINDOW_DESTROY
        | SelectionEventMask::SELECTION_CLIENT_CLOSE;
    connection
        .xfixes_select_selection_input(window, atoms.CLIPBOARD, mask)?
        .check()?;
    Ok((window, atoms))
}
