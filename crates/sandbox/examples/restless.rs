//! A server for the tests to kill: `restless STATE_DIR GUEST_BINARY LAYER...` makes and ends sandboxes without a pause.
//!
//! It prints a line before each step, and ends only by a signal. Every third sandbox is kept.

#![allow(clippy::print_stdout, reason = "the test reads what it is doing")]

use std::{error::Error, path::PathBuf};

use berth_sandbox::{Config, Limits, Local, SandboxId, Sandboxes as _, Spec};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let state = args.next().ok_or("give a state directory")?;
    let guest_binary = args.next().ok_or("give the guest's binary")?;
    let local = Local::start(Config::new(state)).await?;
    let limits = Limits {
        disk_bytes: 128 << 20,
        inodes: 4096,
        memory_bytes: 256 << 20,
        ..Limits::default()
    };
    let hostname = "box".to_owned();
    let spec = Spec {
        layers: args.collect(),
        guest_binary,
        hostname,
        limits,
        priority: berth_sandbox::Priority::Normal,
        environment: vec![],
    };
    for number in 0u64.. {
        // Names that no earlier run has used.
        let id: SandboxId = format!("p{}-{number}", std::process::id()).parse()?;
        println!("creating {id}");
        local.create(&id, &spec).await?;
        println!("running {id}");
        if number % 3 != 0 {
            local.destroy(&id).await?;
        }
    }
    Ok(())
}
