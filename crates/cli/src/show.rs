//! How things look to a person: tables, ages, sizes, and text from a session that must not move the cursor.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Rows in columns, each as wide as its widest cell; nothing follows the last one.
pub(crate) fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line += &format!("{cell:<width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// How long ago, or until when, in the largest unit that fits.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// A time of the server as the span between it and `now`; the text itself if it is no time.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(time) => span(now.duration_since(time).as_secs().unsigned_abs()),
        Err(_) => clean(time),
    }
}

/// Bytes in the largest unit that fits.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Labels in one line.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    clean(&pairs.join(", "))
}

/// Text that others chose, without what a terminal would obey. Lines and tabs stay.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        assert_eq!(
            table(&[row("ID", "AGE"), row("größer", ""), row("x", "3 s")]),
            "ID      AGE\ngrößer\nx       3 s\n"
        );
    }

    #[test]
    fn spans_and_sizes_have_the_unit_that_fits() {
        let spans: Vec<_> = [0, 59, 60, 3599, 7200, 200_000].map(span).into();
        assert_eq!(spans, ["0 s", "59 s", "1 min", "59 min", "2 h", "2 d"]);
        let sizes: Vec<_> = [0, 1023, 1024, 1536, 2 << 30, 130 << 20].map(size).into();
        assert_eq!(
            sizes,
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "2.0 GiB", "130 MiB"]
        );
    }

    #[test]
    fn an_age_is_counted_from_now() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(age("2026-01-02T03:00:05.123Z", now), "3 min");
        assert_eq!(age("2026-01-02T03:34:05Z", now), "30 min");
        assert_eq!(age("soon", now), "soon");
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_is_left(text in any::<String>()) {
            prop_assert!(clean(&text).chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
        }
    }
}
