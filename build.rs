//! Migrations are embedded in the binary: a new folder of theirs must rebuild it.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
