//! Tests that need something beside the project.

/// Says loudly that a test was not run. Where nothing may be skipped (`ASSISTD_NO_SKIP` is set), it fails.
///
/// # Panics
/// When `ASSISTD_NO_SKIP` is set.
pub fn skipped(reason: &str) {
    assert!(
        std::env::var_os("ASSISTD_NO_SKIP").is_none(),
        "nothing may be skipped here: {reason}"
    );
    eprintln!("SKIPPED: {reason}");
}

/// Says loudly that nothing was compared with data that is not the project's own and does not lie beside it. No machine can
/// be made to have it, so that this is not a skip.
pub fn not_compared(reason: &str) {
    eprintln!("NOT COMPARED: {reason}");
}
