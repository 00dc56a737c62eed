//! Pages that come, say anything in any order, and go, at a screen without an X server: who has control, what waits for
//! the input thread and what waits for the pages stays as it must be.
#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use berth_fuzz::messages;
use berth_screen::Viewer;
use berth_screen::fuzzing::Detached;
use libfuzzer_sys::fuzz_target;

/// Pages at a time.
const PAGES: usize = 4;

// Each message's first byte is what happens, in its high half, and to which page, in its low half.
fuzz_target!(|data: &[u8]| {
    let mut screen = Detached::new().expect("two file descriptors");
    let mut pages: [Option<Viewer>; PAGES] = Default::default();
    for step in messages(data) {
        let Some((&what, rest)) = step.split_first() else {
            continue;
        };
        let page = &mut pages[usize::from(what) % PAGES];
        match what >> 4 {
            0 => *page = None,
            1 => *page = Some(screen.attach(rest.first().copied().unwrap_or(0xF))),
            2 => screen.capture(rest.len() * 16),
            3 => while screen.inject() {},
            4 => {
                screen.inject();
            }
            5 => drain(page.as_ref()),
            // A broken page is closed, as the guest does.
            _ => {
                let viewer = page.get_or_insert_with(|| screen.attach(0xF));
                if viewer.receive(rest).is_err() {
                    *page = None;
                }
            }
        }
        screen.check();
    }
    drop(pages);
    while screen.inject() {}
    screen.check();
});

/// Takes what waits for a page.
fn drain(page: Option<&Viewer>) {
    let Some(viewer) = page else { return };
    let mut context = Context::from_waker(Waker::noop());
    for taken in 0.. {
        // A hello, notices, an update of two parts and some sound: no more waits at a time.
        assert!(taken < 20, "a page that asks for nothing is sent much");
        if !matches!(pin!(viewer.next()).poll(&mut context), Poll::Ready(Some(_))) {
            break;
        }
    }
}
