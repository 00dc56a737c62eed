//! A row of messages of a live view's server, as a recording's canvas draws them: each is drawn or refused, within bounds.
#![no_main]

use berth_fuzz::messages;
use berth_recording::Canvas;
use libfuzzer_sys::fuzz_target;

/// Pixels of a screen in here: painting a larger one finds nothing more, and slowly.
const PIXELS_MAX: usize = 1 << 16;

fuzz_target!(|data: &[u8]| {
    let mut canvas = Canvas::default();
    for message in messages(data) {
        if pixels(message) > PIXELS_MAX {
            continue;
        }
        let _ = canvas.take(message);
        for y in 0..canvas.height() {
            assert_eq!(canvas.row(y).len(), canvas.width());
        }
        assert!(canvas.row(canvas.height()).is_empty());
    }
});

/// Pixels of the screen that a hello announces.
fn pixels(message: &[u8]) -> usize {
    match *message {
        [1, 1, a, b, c, d, ..] => {
            usize::from(u16::from_le_bytes([a, b])) * usize::from(u16::from_le_bytes([c, d]))
        }
        _ => 0,
    }
}
