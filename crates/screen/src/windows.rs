//! The windows of the desktop, as its window manager has them (EWMH): which there are, and what may be done to them.

use x11rb::errors::ReplyError;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, EventMask, InputFocus,
    Window as WindowId,
};
use x11rb::wrapper::ConnectionExt as _;

use crate::error::ScreenError;
use crate::snapshot::{Looker, refused};

/// Bytes of a property that are read at most, in units of four.
const PROPERTY_UNITS_MAX: u32 = 16 << 10;

/// Characters of a title that are told.
const TITLE_CHARS_MAX: usize = 500;

/// A message that comes from a person's tool, not from an application.
const SOURCE_PAGER: u32 = 2;

/// A window of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// X's number, stable while it lives.
    pub id: u32,
    /// What its title bar says.
    pub title: String,
    /// Left edge of what the application draws, on the screen.
    pub x: i32,
    /// Upper edge.
    pub y: i32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The process that it says it belongs to; 0 when it does not say.
    pub pid: u32,
}

/// What may be done to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowChange {
    /// Bring it to the front, with the keyboard.
    Activate,
    /// Ask it to close.
    Close,
    /// Fill the work area.
    Maximize,
    /// Put it away.
    Minimize,
    /// Back to its own size, and back if it was put away.
    Restore,
    /// Fill the screen, without a frame.
    Fullscreen,
    /// Let no other window cover it, or let them again.
    KeepInFront(bool),
    /// Give it another size.
    Resize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
}

impl Looker {
    /// The applications' windows, in the order in which they were opened; panels and the desktop itself are none.
    pub fn windows(&self) -> Result<Vec<Window>, ScreenError> {
        let list = || {
            let client_list = self.atom("_NET_CLIENT_LIST")?;
            let ids = self.numbers(self.root, client_list)?;
            // One that closes meanwhile is left out.
            let furniture = [
                self.atom("_NET_WM_WINDOW_TYPE_DESKTOP")?,
                self.atom("_NET_WM_WINDOW_TYPE_DOCK")?,
            ];
            let kind = self.atom("_NET_WM_WINDOW_TYPE")?;
            let is_application = |id: &u32| {
                let kinds = self.numbers(*id, kind).unwrap_or_default();
                !kinds.iter().any(|kind| furniture.contains(kind))
            };
            let ids = ids.into_iter().filter(is_application);
            Ok::<_, ReplyError>(ids.filter_map(|id| self.window(id).ok()).collect())
        };
        list().map_err(refused("list the windows"))
    }

    /// The window with the keyboard, if an application has it.
    pub fn active_window(&self) -> Result<Option<Window>, ScreenError> {
        let active = || {
            let property = self.atom("_NET_ACTIVE_WINDOW")?;
            let id = self.numbers(self.root, property)?.first().copied();
            Ok::<_, ReplyError>(id.filter(|id| *id != 0).and_then(|id| self.window(id).ok()))
        };
        active().map_err(refused("ask for the active window"))
    }

    /// Does something to a window. False: there is no such window.
    pub fn change_window(&self, id: u32, change: WindowChange) -> Result<bool, ScreenError> {
        let apply = || {
            let client_list = self.atom("_NET_CLIENT_LIST")?;
            if !self.numbers(self.root, client_list)?.contains(&id) {
                return Ok(false);
            }
            self.apply(id, change)?;
            self.connection.sync()?;
            Ok::<_, ReplyError>(true)
        };
        apply().map_err(refused("change a window"))
    }

    fn apply(&self, id: WindowId, change: WindowChange) -> Result<(), ReplyError> {
        match change {
            WindowChange::Activate => self.activate(id),
            WindowChange::Close => self.tell(
                id,
                "_NET_CLOSE_WINDOW",
                [x11rb::CURRENT_TIME, SOURCE_PAGER, 0, 0, 0],
            ),
            WindowChange::Maximize => {
                self.set_state(id, false, ["_NET_WM_STATE_FULLSCREEN", ""])?;
                self.set_state(
                    id,
                    true,
                    ["_NET_WM_STATE_MAXIMIZED_VERT", "_NET_WM_STATE_MAXIMIZED_HORZ"],
                )
            }
            WindowChange::Minimize => {
                const ICONIC: u32 = 3;
                self.tell(id, "WM_CHANGE_STATE", [ICONIC, 0, 0, 0, 0])
            }
            WindowChange::Restore => {
                self.set_state(id, false, ["_NET_WM_STATE_FULLSCREEN", ""])?;
                self.set_state(
                    id,
                    false,
                    ["_NET_WM_STATE_MAXIMIZED_VERT", "_NET_WM_STATE_MAXIMIZED_HORZ"],
                )?;
                self.activate(id)
            }
            WindowChange::KeepInFront(on) => self.set_state(id, on, ["_NET_WM_STATE_ABOVE", ""]),
            WindowChange::Fullscreen => self.set_state(id, true, ["_NET_WM_STATE_FULLSCREEN", ""]),
            WindowChange::Resize { width, height } => {
                self.set_state(id, false, ["_NET_WM_STATE_FULLSCREEN", ""])?;
                self.set_state(
                    id,
                    false,
                    ["_NET_WM_STATE_MAXIMIZED_VERT", "_NET_WM_STATE_MAXIMIZED_HORZ"],
                )?;
                let size = ConfigureWindowAux::new().width(width).height(height);
                self.connection.configure_window(id, &size)?;
                Ok(())
            }
        }
    }

    fn activate(&self, id: WindowId) -> Result<(), ReplyError> {
        self.tell(
            id,
            "_NET_ACTIVE_WINDOW",
            [SOURCE_PAGER, x11rb::CURRENT_TIME, 0, 0, 0],
        )?;
        // A window manager that does not know the message leaves the keyboard where it is.
        let supported = self.atom("_NET_SUPPORTED")?;
        let active = self.atom("_NET_ACTIVE_WINDOW")?;
        if !self.numbers(self.root, supported)?.contains(&active) {
            self.connection
                .set_input_focus(InputFocus::PARENT, id, x11rb::CURRENT_TIME)?;
        }
        Ok(())
    }

    fn set_state(&self, id: WindowId, on: bool, states: [&str; 2]) -> Result<(), ReplyError> {
        let [first, second] = states.map(|name| if name.is_empty() { Ok(0) } else { self.atom(name) });
        self.tell(
            id,
            "_NET_WM_STATE",
            [u32::from(on), first?, second?, SOURCE_PAGER, 0],
        )
    }

    /// Asks the window manager.
    fn tell(&self, id: WindowId, message: &str, data: [u32; 5]) -> Result<(), ReplyError> {
        let event = ClientMessageEvent::new(32, id, self.atom(message)?, data);
        let mask = EventMask::SUBSTRUCTURE_REDIRECT | EventMask::SUBSTRUCTURE_NOTIFY;
        self.connection.send_event(false, self.root, mask, event)?;
        Ok(())
    }

    fn window(&self, id: WindowId) -> Result<Window, ReplyError> {
        let geometry = self.connection.get_geometry(id)?.reply()?;
        let place = self
            .connection
            .translate_coordinates(id, self.root, 0, 0)?
            .reply()?;
        let pid = self.atom("_NET_WM_PID")?;
        Ok(Window {
            id,
            title: self.title(id)?,
            x: place.dst_x.into(),
            y: place.dst_y.into(),
            width: geometry.width.into(),
            height: geometry.height.into(),
            pid: self.numbers(id, pid)?.first().copied().unwrap_or(0),
        })
    }

    fn title(&self, id: WindowId) -> Result<String, ReplyError> {
        for name in ["_NET_WM_NAME", "WM_NAME"] {
            let property = self.atom(name)?;
            let reply = self
                .connection
                .get_property(false, id, property, AtomEnum::ANY, 0, PROPERTY_UNITS_MAX)?
                .reply()?;
            if !reply.value.is_empty() {
                return Ok(String::from_utf8_lossy(&reply.value)
                    .chars()
                    .take(TITLE_CHARS_MAX)
                    .collect());
            }
        }
        Ok(String::new())
    }

    fn numbers(&self, id: WindowId, property: Atom) -> Result<Vec<u32>, ReplyError> {
        let reply = self
            .connection
            .get_property(false, id, property, AtomEnum::ANY, 0, PROPERTY_UNITS_MAX)?
            .reply()?;
        Ok(reply.value32().map(Iterator::collect).unwrap_or_default())
    }

    fn atom(&self, name: &str) -> Result<Atom, ReplyError> {
        Ok(self.connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
    }
}
