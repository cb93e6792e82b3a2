//! Compiles the contract in `proto/` without a system protoc: the types and services for `api::pb`,
//! and the descriptor set for reflection and transcoding.

use std::{env, error::Error, fs, path::Path};

/// The files that make up the contract, and the error details that every error carries (imported by
/// nothing, but reflection and the transcoder must know them).
const FILES: [&str; 7] = [
    "assistant/v1/assistant_service.proto",
    "assistant/v1/mcp_service.proto",
    "assistant/v1/model_service.proto",
    "assistant/v1/run_service.proto",
    "assistant/v1/thread_service.proto",
    "assistant/v1/usage_service.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");

    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    tonic_prost_build::configure()
        .codec_path("crate::api::codec::LeanCodec")
        // Maps in order, so that equal messages are equal bytes.
        .btree_map(".assistant.v1")
        // One type for a status and its details wherever they come from.
        .extern_path(".google.rpc", "::tonic_types::pb")
        // Tools that are written down once, not for each answer.
        .extern_path(
            ".assistant.v1.ListToolsResponse",
            "crate::api::listed::ListToolsResponse",
        )
        // Annotations only: nothing of it is needed at run time.
        .extern_path(".google.api", "()")
        // Most events are deltas; they should not be as big as a whole run.
        .boxed(".assistant.v1.RunEvent.payload.run_completed")
        .boxed(".assistant.v1.RunEvent.payload.run_failed")
        .boxed(".assistant.v1.RunEvent.payload.run_cancelled")
        .boxed(".assistant.v1.RunEvent.payload.run_expired")
        .boxed(".assistant.v1.RunEvent.payload.run_incomplete")
        .boxed(".assistant.v1.RunStep.details.tool_call")
        .compile_fds(compiler.file_descriptor_set())?;

    // Encoded by protox itself: prost's own types would drop the `google.api` options.
    let descriptors = compiler.encode_file_descriptor_set();
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(Path::new(&out).join("assistant_descriptor.bin"), descriptors)?;
    Ok(())
}
