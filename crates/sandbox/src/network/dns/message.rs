//! As much of DNS messages as a forwarder that does not read them has to know.

/// Length of a header.
pub(super) const HEADER: usize = 12;

/// A whole header without the answer bit.
pub(super) fn is_query(message: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & 0x80 == 0
}

/// A whole header with the answer bit and the query's number.
pub(super) fn answers(message: &[u8], query: &[u8]) -> bool {
    message.len() >= HEADER && message[2] & 0x80 != 0 && message[..2] == query[..2]
}

/// The query as an answer that says "server failure", with the question if it can be told apart.
pub(super) fn server_failure(query: &[u8]) -> Vec<u8> {
    /// Operation code and "recursion desired", which an answer repeats.
    const REPEATED: u8 = 0x79;

    let mut answer = vec![0; HEADER];
    if query.len() < HEADER {
        return answer;
    }
    answer[..2].copy_from_slice(&query[..2]);
    answer[2] = 0x80 | query[2] & REPEATED;
    answer[3] = 0x82;
    if let Some(question) = question(query) {
        answer[5] = 1;
        answer.extend(question);
    }
    answer
}

/// The bytes of the one question of a query.
fn question(query: &[u8]) -> Option<&[u8]> {
    if query.get(4..6)? != [0, 1] {
        return None;
    }
    let mut end = HEADER;
    loop {
        let length = usize::from(*query.get(end)?);
        end += 1;
        match length {
            0 => break,
            // A pointer, which a first name cannot have.
            64.. => return None,
            _ => end += length,
        }
    }
    // Type and class follow.
    query.get(HEADER..end + 4)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `example.org A`, number 0x1234, recursion desired.
    pub(crate) fn query() -> Vec<u8> {
        let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x07example\x03org\0\0\x01\0\x01");
        query
    }

    #[test]
    fn a_failure_repeats_the_question() {
        let answer = server_failure(&query());
        assert_eq!(&answer[..6], [0x12, 0x34, 0x81, 0x82, 0, 1]);
        assert_eq!(&answer[HEADER..], &query()[HEADER..]);
        assert!(answers(&answer, &query()));
    }

    #[test]
    fn additional_records_are_left_out_of_a_failure() {
        let mut with_edns = query();
        with_edns[11] = 1;
        with_edns.extend([0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(server_failure(&with_edns), server_failure(&query()));
    }

    proptest! {
        #[test]
        fn no_query_can_break_the_answer(query: Vec<u8>) {
            let answer = server_failure(&query);
            prop_assert!(answer.len() >= HEADER && answer.len() <= query.len().max(HEADER));
            if is_query(&query) {
                prop_assert!(answers(&answer, &query));
            }
        }
    }
}
