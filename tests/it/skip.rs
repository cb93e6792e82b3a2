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
