//! Tests of `store`.

use std::sync::mpsc;
use std::thread;

use super::*;
use crate::digest::InputHasher;
use crate::image::{Limits, User};

fn facts() -> Facts {
    Facts {
        languages: vec!["python".to_owned()],
        desktop: None,
        user: User {
            name: "user".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/home/user".to_owned(),
        },
        limits: Limits::default(),
    }
}

fn key(text: &str) -> Digest {
    let mut hasher = InputHasher::new();
    hasher.add("test", text.as_bytes());
    hasher.finish()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("images")).unwrap();
    (folder, store)
}

fn lock(store: &Store) -> StoreLock {
    store.lock(&Interrupt::never(), || ()).unwrap()
}

/// A layer with `content` for inputs of the same name.
fn add_layer(store: &Store, lock: &StoreLock, content: &str) -> LayerRecord {
    let file = store.folder().join("tmp/layer");
    fs_err::write(&file, content).unwrap();
    store.add_layer(lock, &key(content), content, &file).unwrap()
}

fn add_image(store: &Store, name: &str, layers: &[&str]) -> Vec<LayerRecord> {
    let lock = lock(store);
    let layers: Vec<_> = layers
        .iter()
        .map(|content| add_layer(store, &lock, content))
        .collect();
    store
        .add_image(&lock, name, "recipe", key(name), layers.clone(), &facts())
        .unwrap();
    layers
}

fn manifest(store: &Store, name: &str) -> PathBuf {
    store.folder().join(format!("images/{name}.json"))
}

#[test]
fn an_image_comes_back_as_it_was_put_in() {
    let (_folder, store) = store();
    assert_eq!(store.image("a-1").unwrap(), None);
    let layers = add_image(&store, "a-1", &["lower", "upper"]);
    let image = store.image("a-1").unwrap().unwrap();
    assert_eq!(
        (image.name.as_str(), image.recipe.as_str(), image.key),
        ("a-1", "recipe", key("a-1"))
    );
    assert_eq!(image.facts, facts());
    assert_eq!(image.size_bytes(), 10);
    let contents: Vec<_> = image
        .layer_paths()
        .map(|path| fs_err::read_to_string(path).unwrap())
        .collect();
    assert_eq!(contents, ["lower", "upper"]);
    assert_eq!(store.recorded(&key("lower")).unwrap().as_ref(), Some(&layers[0]));
    assert_eq!(store.list().unwrap(), [image]);
}

#[test]
fn a_layer_file_is_read_only_and_named_by_content() {
    let (_folder, store) = store();
    let layers = add_image(&store, "a-1", &["abc"]);
    let path = store.layer_path(&layers[0].digest);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(
        name,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad.erofs"
    );
    assert!(fs_err::metadata(path).unwrap().permissions().readonly());
}

#[test]
fn half_of_an_image_is_no_image() {
    let (_folder, store) = store();
    let layers = add_image(&store, "a-1", &["lower", "upper"]);
    add_image(&store, "b-1", &["lower"]);

    let upper = store.layer_path(&layers[1].digest);
    fs_err::remove_file(&upper).unwrap();
    fs_err::write(&upper, "upp").unwrap();
    assert_eq!(store.image("a-1").unwrap(), None);
    assert_eq!(store.recorded(&key("upper")).unwrap(), None);
    fs_err::remove_file(&upper).unwrap();
    assert_eq!(store.image("a-1").unwrap(), None);

    let whole = fs_err::read_to_string(manifest(&store, "b-1")).unwrap();
    for half in [
        &whole[..whole.len() / 2],
        "",
        "{}",
        &whole.replace("\"b-1\"", "\"c-1\""),
    ] {
        fs_err::write(manifest(&store, "b-1"), half).unwrap();
        assert!(
            matches!(store.image("b-1"), Err(Error::Manifest { .. })),
            "{half}"
        );
    }
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn a_record_that_cannot_be_read_is_none() {
    let (_folder, store) = store();
    add_image(&store, "a-1", &["lower"]);
    fs_err::write(store.record_path(&key("lower")), "{\"recipe\":").unwrap();
    assert_eq!(store.recorded(&key("lower")).unwrap(), None);
}

#[test]
fn removal_keeps_what_others_use() {
    let (_folder, store) = store();
    let layers = add_image(&store, "a-1", &["shared", "mine"]);
    add_image(&store, "b-1", &["shared"]);

    assert_eq!(
        store.remove("a-1").unwrap(),
        Removed {
            layers: 1,
            size_bytes: 4
        }
    );
    assert_eq!(store.image("a-1").unwrap(), None);
    assert!(store.image("b-1").unwrap().is_some());
    assert!(!store.layer_path(&layers[1].digest).exists());
    assert_eq!(store.recorded(&key("mine")).unwrap(), None);

    assert_eq!(store.remove("b-1").unwrap().layers, 1);
    assert_eq!(
        fs_err::read_dir(store.folder().join("layers")).unwrap().count(),
        0
    );
    assert_eq!(
        fs_err::read_dir(store.folder().join("recipes")).unwrap().count(),
        0
    );
}

#[test]
fn pruning_removes_what_an_earlier_build_used() {
    let (_folder, store) = store();
    add_image(&store, "a-1", &["shared", "earlier"]);
    add_image(&store, "a-1", &["shared", "later"]);
    let image = store.image("a-1").unwrap();
    assert_eq!(
        store.prune().unwrap(),
        Removed {
            layers: 1,
            size_bytes: 7
        }
    );
    assert_eq!(
        store.prune().unwrap(),
        Removed {
            layers: 0,
            size_bytes: 0
        }
    );
    assert_eq!(store.image("a-1").unwrap(), image);
}

#[test]
fn nothing_is_removed_while_a_manifest_cannot_be_read() {
    let (_folder, store) = store();
    add_image(&store, "a-1", &["mine"]);
    let layers = add_image(&store, "b-1", &["other"]);
    fs_err::write(manifest(&store, "b-1"), "half").unwrap();
    assert!(matches!(store.remove("a-1"), Err(Error::Manifest { .. })));
    assert!(store.layer_path(&layers[0].digest).exists());
}

#[test]
fn names_lead_nowhere_else() {
    let (folder, store) = store();
    fs_err::write(folder.path().join("x.json"), "{}").unwrap();
    for name in ["../../x", "../x", "", ".", "a/b", "A"] {
        assert_eq!(store.image(name).unwrap(), None, "{name}");
        assert!(
            matches!(store.remove(name), Err(Error::UnknownImage { .. })),
            "{name}"
        );
    }
    assert!(matches!(store.remove("gone-1"), Err(Error::UnknownImage { .. })));
    assert!(folder.path().join("x.json").exists());
}

#[test]
fn one_holds_the_lock_and_the_next_waits() {
    let (_folder, store) = store();
    let first = lock(&store);
    let (waits, is_waiting) = mpsc::channel();
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            store
                .lock(&Interrupt::never(), move || waits.send(()).unwrap())
                .is_ok()
        });
        is_waiting.recv().unwrap();
        assert!(!second.is_finished());
        drop(first);
        assert!(second.join().unwrap());
    });
}

#[test]
fn waiting_for_the_lock_can_be_interrupted() {
    let (_folder, store) = store();
    let _first = lock(&store);
    let (sender, interrupt) = Interrupt::on_drop().unwrap();
    let result = store.lock(&interrupt, move || drop(sender));
    assert!(matches!(result, Err(Error::Interrupted)));
}

#[test]
fn what_a_killed_build_left_is_swept() {
    let (_folder, store) = store();
    let tmp = store.folder().join("tmp");
    fs_err::create_dir_all(tmp.join("build-1/base/diff/usr")).unwrap();
    fs_err::write(tmp.join("build-1/base.erofs"), "half").unwrap();
    fs_err::write(tmp.join(".tmp123"), "{").unwrap();
    store.sweep_tmp(&lock(&store)).unwrap();
    assert_eq!(fs_err::read_dir(tmp).unwrap().count(), 0);
    assert_eq!(store.list().unwrap(), []);
}
