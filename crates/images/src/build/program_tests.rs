//! Tests of `program`.

use rustix::process::PidfdFlags;

use super::*;

fn shell(script: &str) -> Program {
    Program::new("sh").arg("-c").arg(script)
}

fn lines(script: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let run = shell(script).run("tiny", &Interrupt::never(), |line| {
        lines.push(line.to_owned());
        Line::Output
    });
    run.unwrap();
    lines
}

#[test]
fn both_outputs_come_as_lines() {
    assert_eq!(
        lines("echo one; echo two >&2; printf 'three\\rfour'"),
        ["one", "two", "three", "four"]
    );
}

#[test]
fn a_line_without_end_is_cut() {
    let lines = lines("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo next");
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].len(), MAX_LINE_BYTES);
    assert_eq!(lines[1], "next");
}

#[test]
fn a_failure_shows_step_and_last_lines() {
    let script = "echo step:sawing; for i in $(seq 100); do echo line $i; done; echo noise; exit 3";
    let error = shell(script)
        .run("tiny", &Interrupt::never(), |line| {
            match line.strip_prefix("step:") {
                Some(step) => Line::Step(step.to_owned()),
                None if line == "noise" => Line::Progress,
                None => Line::Output,
            }
        })
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("building `tiny` failed while sawing: `sh` ended with exit code 3\n"),
        "{message}"
    );
    assert!(message.ends_with("line 99\nline 100"), "{message}");
    assert_eq!(message.lines().count(), 1 + TAIL_LINES);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Program::new("berth-no-such-program")
        .run("tiny", &Interrupt::never(), |_| Line::Output)
        .unwrap_err();
    assert!(error.to_string().contains("berth-no-such-program"), "{error}");
}

#[test]
fn an_interrupt_ends_the_program_and_its_children() {
    let (sender, interrupt) = Interrupt::on_drop().unwrap();
    let mut sender = Some(sender);
    let mut child = None;
    // The child would keep the pipe open for ever; reading goes on until the interrupt comes.
    let result = shell("sleep 1000 & echo $!; wait").run("tiny", &interrupt, |line| {
        let id = Pid::from_raw(line.parse().unwrap()).unwrap();
        child = Some(rustix::process::pidfd_open(id, PidfdFlags::empty()).unwrap());
        sender.take();
        Line::Output
    });
    assert!(matches!(result, Err(Error::Interrupted)));
    // Readable when the process has ended; without an end this waits for ever.
    let child = child.unwrap();
    rustix::event::poll(&mut [PollFd::new(&child, PollFlags::IN)], None).unwrap();
}

#[test]
fn after_an_interrupt_nothing_starts() {
    let (sender, interrupt) = Interrupt::on_drop().unwrap();
    drop(sender);
    let result = shell("echo never").run("tiny", &interrupt, |_| unreachable!("no output"));
    assert!(matches!(result, Err(Error::Interrupted)));
}

proptest::proptest! {
    /// However the output is cut into reads, the lines are the same, and none is longer than it may be.
    #[test]
    fn lines_do_not_depend_on_reads(bytes: Vec<u8>, cuts: Vec<proptest::sample::Index>) {
        let collect = |chunks: &[&[u8]]| {
            let (mut lines, mut collected) = (Lines::default(), Vec::new());
            let mut on_line = |line: &str| collected.push(line.to_owned());
            chunks.iter().for_each(|chunk| lines.feed(chunk, &mut on_line));
            lines.finish(&mut on_line);
            collected
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let edges: Vec<usize> = [0].into_iter().chain(cuts).chain([bytes.len()]).collect();
        let chunks: Vec<&[u8]> = edges.windows(2).map(|edge| &bytes[edge[0]..edge[1]]).collect();
        let lines = collect(&chunks);
        proptest::prop_assert_eq!(&lines, &collect(&[&bytes]));
        // A byte that is not UTF-8 becomes a mark of three.
        proptest::prop_assert!(lines.iter().all(|line| !line.is_empty() && line.len() <= 3 * MAX_LINE_BYTES));
    }
}
