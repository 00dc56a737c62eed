//! Several viewers, the agent, the clipboard and the screen's size, against a real X server and real clients.
#![allow(clippy::unwrap_used, reason = "what fails in a test says so by panicking")]

mod harness;

use std::io::Write;
use std::process::{Command, Stdio};

use berth_screen::{AgentError, Button, Rights, Screen, Visitor};
use harness::{Page, Recorder, Server, Told};
use serde_json::{Value, json};

/// A page of somebody with a name.
async fn visit(screen: &Screen, name: &str, rights: Rights) -> Page {
    let visitor = Visitor {
        name: name.into(),
        ticket: format!("t-{name}"),
        rights,
    };
    let mut page = Page::of(screen.attach(visitor), 1);
    page.until(|page| page.state() != Value::Null).await;
    page
}

const WATCH: Rights = Rights {
    control: false,
    clipboard_in: false,
    clipboard_out: false,
    files: false,
};

fn control(verb: u8, other: u32) -> Vec<u8> {
    [&[13, verb][..], &other.to_le_bytes()].concat()
}

#[tokio::test]
async fn one_has_control_and_hands_it_over() {
    let server = Server::start("320x200");
    let mut recorder = Recorder::open(&server);
    let screen = Screen::open(&server.display).unwrap();
    let mut ann = visit(&screen, "Ann", Rights::ALL).await;
    let mut bob = visit(&screen, "Bob", Rights::ALL).await;
    let mut cat = visit(&screen, "Cat", WATCH).await;
    cat.until(|page| page.state()["viewers"].as_array().unwrap().len() == 3)
        .await;
    assert_eq!(cat.state()["rights"], json!(["view"]));

    // Who acts first has it, and the others' input counts for nothing.
    cat.vain_pointer(9, 9);
    ann.key(1, 0, "KeyA", "a");
    let (ann_id, bob_id) = (ann.id(), bob.id());
    bob.until(|page| page.state()["holder"] == ann_id).await;
    bob.vain_pointer(9, 9);
    recorder.until(|told| told.contains(&Told::Down("a".into())));

    // Asked for and given; the key that Ann held is let go.
    bob.request(&control(0, 0));
    ann.until(|page| page.state()["asked"] == json!([bob_id])).await;
    ann.request(&control(2, bob_id));
    recorder.until(|told| told.iter().any(|told| matches!(told, Told::Up(_))));
    bob.pointer(20, 30);
    recorder.until(|told| told.contains(&Told::Moved(20, 30)));
    ann.vain_pointer(9, 9);

    // Ann is shown Bob's pointer, Bob is not.
    bob.button(1, true, 25, 35);
    bob.button(1, false, 25, 35);
    let clicked = [&[8, 1][..], &bob_id.to_le_bytes(), &[25, 0, 35, 0, 1]].concat();
    ann.until(|page| page.painter.notices.contains(&clicked)).await;
    assert!(!bob.painter.notices.iter().any(|notice| notice[0] == 8));

    // Taken; and free when its holder leaves.
    ann.request(&control(1, 0));
    bob.until(|page| page.state()["holder"] == ann_id).await;
    cat.request(&control(1, 0));
    drop(ann);
    bob.until(|page| page.state()["holder"] == Value::Null).await;
    bob.pointer(40, 50);
    recorder.until(|told| told.contains(&Told::Moved(40, 50)));
    assert!(!recorder.told.contains(&Told::Moved(9, 9)));

    let seen = screen.control().borrow().clone();
    let viewers: Vec<_> = seen
        .viewers
        .iter()
        .map(|one| (&*one.name, &*one.ticket, one.controls))
        .collect();
    assert_eq!(viewers, [("Bob", "t-Bob", true), ("Cat", "t-Cat", false)]);
}

#[tokio::test]
async fn people_see_the_agent_and_can_take_over_from_it() {
    let server = Server::start("320x200");
    let mut recorder = Recorder::open(&server);
    let screen = Screen::open(&server.display).unwrap();
    let mut page = visit(&screen, "Ann", Rights::ALL).await;
    let agent = screen.agent();
    let at = berth_screen::wire::page::Position { x: 70, y: 80 };
    agent.click(Button::Left, at, 1).await.unwrap();
    let clicked = vec![8, 0, 0, 0, 0, 0, 70, 0, 80, 0, 1];
    page.until(|page| page.painter.notices.contains(&clicked)).await;
    agent.press(&["Shift".into()], true).await.unwrap();

    let mut control_of = screen.control();
    page.request(&control(5, 0));
    control_of.wait_for(|control| control.taken_over).await.unwrap();
    assert_eq!(agent.move_to(at).await, Err(AgentError::TakenOver));
    assert_eq!(agent.text("x").await, Err(AgentError::TakenOver));
    agent
        .release(&["Shift".into()])
        .await
        .expect("letting go is always allowed");
    page.pointer(11, 12);
    recorder.until(|told| told.contains(&Told::Moved(11, 12)));

    page.request(&control(6, 0));
    control_of.wait_for(|control| !control.taken_over).await.unwrap();
    agent.move_to(at).await.unwrap();

    page.request(&control(5, 0));
    control_of.wait_for(|control| control.taken_over).await.unwrap();
    drop(page);
    control_of.wait_for(|control| !control.taken_over).await.unwrap();
    agent.text("x").await.unwrap();
}

/// What an application pastes.
fn paste(server: &Server, target: &str) -> Vec<u8> {
    let output = Command::new("xclip")
        .args([
            "-display",
            &server.display,
            "-selection",
            "clipboard",
            "-o",
            "-t",
            target,
        ])
        .output()
        .expect("xclip runs (Debian package `xclip`)");
    output.stdout
}

/// An application copies; it goes on offering it until another does.
fn copy(server: &Server, target: &str, bytes: &[u8]) {
    let mut xclip = Command::new("xclip")
        .args([
            "-display",
            &server.display,
            "-selection",
            "clipboard",
            "-i",
            "-t",
            target,
        ])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    xclip.stdin.take().unwrap().write_all(bytes).unwrap();
    assert!(xclip.wait().unwrap().success());
    // It goes to the background before the X server has heard of it.
    while paste(server, target) != bytes {
        std::thread::yield_now();
    }
}

/// What is large is announced, and comes when it is asked for; the two have kinds of their own.
async fn fetched(page: &mut Page, (announced, whole): (u8, u8), content: &[u8]) {
    let announcement = [&[6, announced][..], &(content.len() as u32).to_le_bytes()].concat();
    page.until(|page| page.painter.notices.contains(&announcement))
        .await;
    page.request(&[15]);
    let came = |notice: &Vec<u8>| notice[..2] == [6, whole] && notice[2..] == *content;
    page.until(|page| page.painter.notices.iter().any(came)).await;
}

#[tokio::test]
async fn text_goes_both_ways_and_pictures_come_out() {
    let server = Server::start("320x200");
    let mut recorder = Recorder::open(&server);
    let screen = Screen::open(&server.display).unwrap();
    copy(&server, "UTF8_STRING", b"from before");
    let mut page = visit(&screen, "Ann", Rights::ALL).await;
    let mut watcher = visit(&screen, "Bob", WATCH).await;

    // In: owned before the key that follows is pressed.
    for text in [
        "Gr\u{fc}\u{df}e \u{1f600}\n\u{6f22}\u{5b57}",
        &"long ".repeat(200_000),
    ] {
        page.clipboard(text);
        page.tap(2, "KeyV", "v");
        let presses = recorder.told.len();
        recorder.until(|told| told[presses..].contains(&Told::Down("C-v".into())));
        let pasted = paste(&server, "UTF8_STRING");
        assert!(
            pasted == text.as_bytes(),
            "{} bytes pasted of {}",
            pasted.len(),
            text.len()
        );
    }
    assert_eq!(paste(&server, "image/png"), b"", "there is no picture");

    // Out: short text at once, what is large when it is asked for.
    copy(&server, "UTF8_STRING", "kopiert \u{e4}".as_bytes());
    let told = [&[6, 0][..], "kopiert \u{e4}".as_bytes()].concat();
    page.until(|page| page.painter.notices.contains(&told)).await;

    let long = "0123456789".repeat(50_000);
    copy(&server, "UTF8_STRING", long.as_bytes());
    fetched(&mut page, (2, 0), long.as_bytes()).await;

    let png: Vec<u8> = (0..700_000u32).map(|n| (n * 7) as u8).collect();
    copy(&server, "image/png", &png);
    fetched(&mut page, (3, 1), &png).await;

    // What was there before somebody came is not pressed on them, and who may not read is told nothing.
    assert!(
        !page
            .painter
            .notices
            .iter()
            .any(|notice| notice[0] == 6 && notice.ends_with(b"before"))
    );
    watcher.request(&[15]);
    page.pointer(1, 1);
    let held = page.id();
    watcher.until(|page| page.state()["holder"] == held).await;
    assert!(!watcher.painter.notices.iter().any(|notice| notice[0] == 6));
}

#[tokio::test]
async fn the_screen_takes_the_size_that_its_holder_wants() {
    let server = Server::start("1000x700");
    let screen = Screen::open(&server.display).unwrap();
    let mut page = visit(&screen, "Ann", Rights::ALL).await;
    assert_eq!(
        (&page.state()["maxWidth"], &page.state()["maxHeight"]),
        (&json!(1000), &json!(700))
    );
    let mut other = visit(&screen, "Bob", WATCH).await;
    let size =
        |width: u16, height: u16| [&[12][..], &[width, height].map(u16::to_le_bytes).concat()].concat();
    other.request(&size(400, 300));
    let wanted = [
        ((640, 360), (640, 360)),
        ((9000, 10), (1000, 240)),
        ((800, 600), (800, 600)),
        ((640, 360), (640, 360)),
    ];
    for ((width, height), expected) in wanted {
        page.request(&size(width, height));
        for page in [&mut page, &mut other] {
            page.until(|page| page.painter.size() == expected).await;
        }
        let x = server.connect();
        page.catch_up(&x).await;
        assert_eq!(
            (
                usize::from(x.1.width_in_pixels),
                usize::from(x.1.height_in_pixels)
            ),
            expected
        );
    }
}

#[tokio::test]
async fn sound_comes_to_those_who_want_it() {
    let server = Server::start("320x200");
    let screen = Screen::open(&server.display).unwrap();
    let mut page = visit(&screen, "Ann", Rights::ALL).await;
    assert_eq!(page.state()["sound"], false);
    let mut wanted = screen.offer_sound();
    page.until(|page| page.state()["sound"] == true).await;
    screen.send_sound(1, b"unheard");
    page.request(&[14, 1]);
    wanted.wait_for(|wanted| *wanted).await.unwrap();
    for seq in 2..100 {
        screen.send_sound(seq, b"heard");
    }
    page.until(|page| page.painter.notices.contains(&b"\x09\x63\0\0\0heard".to_vec()))
        .await;
    let heard = page
        .painter
        .notices
        .iter()
        .filter(|notice| notice[0] == 9)
        .count();
    assert!(heard < 20, "{heard} packets waited for a page that took none");
    drop(page);
    wanted.wait_for(|wanted| !*wanted).await.unwrap();
}
