//! Compiles the shim between Rust and libvpx, and links the codec libraries of the system into the program.

#![allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]

use std::error::Error;

const LIBRARIES: [&str; 3] = ["vpx", "libturbojpeg", "opus"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/vpx.c");
    let mut shim = cc::Build::new();
    let mut names = Vec::new();
    for library in LIBRARIES {
        let found = pkg_config::Config::new()
            .cargo_metadata(false)
            .env_metadata(true)
            .probe(library)
            .map_err(|error| {
                format!("{error}\ninstall it: apt-get install libvpx-dev libturbojpeg0-dev libopus-dev")
            })?;
        shim.includes(&found.include_paths);
        let folder = pkg_config::get_variable(library, "libdir")?;
        println!("cargo::rustc-link-search=native={folder}");
        names.extend(found.libs);
    }
    shim.file("src/vpx.c").warnings(true).try_compile("berth_vpx")?;
    // After the shim, which needs them. Static, because the program is: see docs/decisions/0004-static-programs.md.
    names.sort();
    names.dedup();
    for name in names
        .iter()
        .filter(|name| ["vpx", "turbojpeg", "opus"].contains(&name.as_str()))
    {
        println!("cargo::rustc-link-lib=static:-bundle={name}");
    }
    println!("cargo::rustc-link-lib=m");
    Ok(())
}
