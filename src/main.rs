//! The `assistd` binary.

use std::process::ExitCode;

use assistd::cli::{self, Invocation};
use assistd::config::{Inputs, LogSection, Settings};
use assistd::telemetry;

fn main() -> ExitCode {
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => error.exit(),
    };
    if invocation.done_at_once() {
        return ExitCode::SUCCESS;
    }
    match run(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_silent() {
                eprintln!("assistd: {error}");
            }
            error.exit_code()
        }
    }
}

fn run(invocation: Invocation) -> Result<(), cli::Error> {
    // The only failure is that a provider is there already, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings::read(Inputs::of_process(invocation.flags, invocation.config))?;
    telemetry::init(&LogSection::from_settings(&settings)?).map_err(cli::Error::service)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(cli::run(invocation.command, &settings));
    // A thread that waits for a line on standard input would hold up the end.
    runtime.shutdown_background();
    result
}
