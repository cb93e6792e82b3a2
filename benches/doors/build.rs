//! Compiles the contract of the echo for all doors: prost's types, pbjson's serde for them, and rest_over_grpc's routes.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto", "../../proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_file("echo.proto")?;
    tonic_prost_build::configure()
        .compile_well_known_types(true)
        .extern_path(".google.protobuf", "::pbjson_types")
        .extern_path(".google.api", "()")
        .compile_fds(compiler.file_descriptor_set())?;
    let descriptors = compiler.encode_file_descriptor_set();
    let out = env::var("OUT_DIR")?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .build(&[".echo"])?;
    rest_over_grpc::build::compile_fds(&descriptors, &out)?;
    fs::write(Path::new(&out).join("echo_descriptor.bin"), descriptors)?;
    Ok(())
}
