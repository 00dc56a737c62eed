//! Recipes are built into the program; make it anew when one appears or changes.

fn main() {
    println!("cargo::rerun-if-changed=../../images");
}
