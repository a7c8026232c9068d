//! Compiles the C++ shim and tells the linker where libtorch lies at run time.

use std::path::Path;

fn main() {
    // torch-sys hands this only to packages that depend on it directly.
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=libtorch was not found; run `make setup` in the repository's root");
        return;
    };
    let lib = Path::new(&lib);
    let include = lib.with_file_name("include");
    println!("cargo::rerun-if-changed=shim");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .flag("-isystem")
        .flag(include.display().to_string())
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include").display().to_string())
        // Headers that stand in for gloo's.
        .include("shim")
        .file("shim/shim.cpp")
        .file("shim/group.cpp")
        .compile("rematch_shim");
    // The absolute path serves every target folder; the relative ones a repository that was moved:
    // target/release/rematch-train and target/release/deps/test-….
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    for up in ["../..", "../../.."] {
        println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN/{up}/.libtorch/torch/lib");
    }
}
