//! Rebuilds the crate when a migration is added: they are embedded by a macro that cargo cannot look into.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-changed=build.rs");
}
