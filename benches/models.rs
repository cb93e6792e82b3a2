//! What stands between a model and whoever asks the service: `cargo bench --bench models`.
//!
//! Streams are compared with the same stream read from the model itself, turn by turn. Decoding is measured alone, in
//! this process. `docs/benchmarks.md` says what the figures mean.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on should say where"
)]

#[path = "models/connections.rs"]
mod connections;
#[path = "models/decoding.rs"]
mod decoding;
#[expect(dead_code, reason = "the other benchmarks measure more")]
mod measure;
#[path = "models/proxy.rs"]
mod proxy;
#[path = "models/streams.rs"]
mod streams;

use measure::figures::Figures;

fn main() {
    // The proxy is this program again.
    let arguments: Vec<String> = std::env::args().collect();
    assistd::model::install_tls_provider();
    if proxy::serve_if_asked(&arguments) {
        return;
    }
    let mut figures = Figures::default();
    decoding::measure(&mut figures);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        streams::measure(&mut figures).await;
        connections::measure(&mut figures).await;
    });
    println!("{figures}");
}
