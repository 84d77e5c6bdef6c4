//! What cargo can't say of the link.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Tens of thousands of pointers to be relocated at each start, packed as a bitmap: 1 MB less of the static binary to read. musl does
    // it since 1.2.4. Where another C library is linked in, its own loader would have to.
    if std::env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|libc| libc == "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
