//! Text in a header or in a URL: what may not stand there is written as `%` and two digits for each byte of its UTF-8.

/// `text` with nothing but letters and digits of ASCII, `-`, `_` and escapes.
pub fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// What [`percent_encode`] made `text` of; nothing if it is not UTF-8 or an escape is broken.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["", "Ann", "a b%20", "\u{1f9d1} \"x\"\r\n", "%", "é/..\u{0}"] {
            let encoded = percent_encode(text);
            assert!(
                encoded
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_%".contains(&byte)),
                "{encoded}"
            );
            assert_eq!(percent_decode(&encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for bad in ["%", "%4", "%4g", "%+1", "%ff", "a%"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }
}
