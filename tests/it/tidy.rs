//! The rules of the house that a machine can check.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// A room, the rooms that it may import beside itself, and the foreign crates that live only there.
const ROOMS: [(&str, &[&str], &[&str]); 11] = [
    ("run", &[], &[]),
    (
        "api",
        &["run"],
        &[
            "tonic_web",
            "tonic_reflection",
            "prost_reflect",
            "tower_http",
            "hyper_util",
        ],
    ),
    ("model", &["run"], &["async_openai", "bpe_openai"]),
    ("mcp", &["run"], &["rmcp", "process_wrap", "nix"]),
    ("store", &["run"], &["sqlx"]),
    ("archive", &["run"], &["serde_path_to_error"]),
    ("simulator", &[], &[]),
    ("config", &[], &["dotenvy", "etcetera", "toml"]),
    (
        "telemetry",
        &["config", "run"],
        &["tracing_subscriber", "prometheus_client"],
    ),
    (
        "cli",
        &["api", "app", "archive", "config", "mcp", "simulator", "telemetry"],
        &["clap_complete", "rustyline"],
    ),
    (
        "app",
        &[
            "api",
            "config",
            "mcp",
            "model",
            "run",
            "simulator",
            "store",
            "telemetry",
        ],
        &["tonic_health"],
    ),
];

/// Foreign crates that several rooms share, but never the heart.
const NEVER_IN_THE_HEART: [&str; 8] = [
    "tonic", "prost", "http", "hyper", "reqwest", "axum", "tower", "clap",
];

/// Foreign crates that a room uses although another one owns them, with the reason.
const EXCEPTIONS: [(&str, &str, &str); 6] = [
    (
        "app",
        "prost_reflect",
        "decodes the descriptors that the transcoder is given",
    ),
    ("app", "tonic_reflection", "registers the service"),
    ("cli", "prost_reflect", "prints messages as ProtoJSON"),
    (
        "config",
        "tracing_subscriber",
        "refuses a log filter that cannot be read",
    ),
    ("mcp", "hyper_util", "the built-in server listens too"),
    ("simulator", "hyper_util", "it is a server of its own"),
];

fn source_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(source_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

/// What a test can be a provider with, or ask one with, and the files in which that is judged (`description.rs`).
const PROVIDERS: [(&str, &[&str]); 4] = [
    ("Simulator::bind(", &["description/provider.rs"]),
    // What they say was recorded before.
    ("Simulator::record(", &["simulator/tape.rs"]),
    ("Simulator::replay(", &["simulator/tape.rs"]),
    ("OpenAi::new(", &["model.rs", "model/options.rs"]),
];

/// Who starts the program as a service. Without a provider it would have one inside, which nobody judges.
const SERVICES: [(&str, &str); 4] = [
    ("process.rs", "gives it a provider that is judged"),
    ("mcp/orphans.rs", "it is killed before anybody asks it"),
    ("terminal.rs", "it refuses to start"),
    ("tidy.rs", "it looks for them"),
];

/// Every source file with its room, its path in `src` and its lines of code.
fn sources() -> Vec<(String, String, Vec<String>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = source_files(&root).expect("the sources can be read");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is text");
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(without_texts)
            .collect();
        let place = path
            .strip_prefix(&root)
            .expect("it is below the root")
            .to_string_lossy()
            .into_owned();
        let room = place.split(['/', '.']).next().unwrap_or_default().to_owned();
        (room, place, code)
    };
    files.into_iter().map(read).collect()
}

/// The line without what stands between its quotes: a name there is no use of it.
fn without_texts(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// The names that follow `prefix` in the line.
fn names_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(place, _)| {
        let rest = &line[place + prefix.len()..];
        let end = rest
            .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(rest.len());
        (starts_a_path(line, place) && end > 0).then_some(&rest[..end])
    })
}

/// Whether a path can begin there: it is not the middle of a name or of a longer path.
fn starts_a_path(line: &str, place: usize) -> bool {
    let before = line[..place].chars().next_back();
    before.is_none_or(|letter| !letter.is_alphanumeric() && letter != '_' && letter != ':')
}

/// Rooms named in a line: `crate::room` and those of `use crate::{room, …}`.
fn rooms_in(line: &str) -> Vec<&str> {
    let mut rooms: Vec<&str> = names_after(line, "crate::").collect();
    if let Some(list) = line.trim_start().strip_prefix("use crate::{") {
        rooms.extend(
            list.split([',', '{', '}', ';'])
                .filter_map(|item| item.trim().split("::").next()),
        );
    }
    rooms
}

/// Whether the line uses the foreign crate: a path that begins with it.
fn uses_crate(line: &str, name: &str) -> bool {
    let path = format!("{name}::");
    line.match_indices(&path)
        .any(|(place, _)| starts_a_path(line, place))
}

#[test]
fn rooms_import_only_what_they_may() {
    let all: Vec<&str> = ROOMS.iter().map(|(room, _, _)| *room).collect();
    let mut broken = Vec::new();
    for (room, place, code) in sources() {
        let Some((_, allowed, _)) = ROOMS.iter().find(|(name, _, _)| *name == room) else {
            continue;
        };
        for line in &code {
            for named in rooms_in(line) {
                if all.contains(&named) && named != room && !allowed.contains(&named) {
                    broken.push(format!("{place}: {}", line.trim()));
                }
            }
        }
    }
    assert!(
        broken.is_empty(),
        "these imports go against ARCHITECTURE.md:\n{}",
        broken.join("\n")
    );
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut broken = Vec::new();
    for (room, place, code) in sources() {
        for line in &code {
            for (owner, _, crates) in ROOMS {
                let strays = crates.iter().filter(|name| uses_crate(line, name));
                broken.extend(
                    strays
                        .filter(|name| {
                            owner != room && !EXCEPTIONS.iter().any(|(r, c, _)| *r == room && c == *name)
                        })
                        .map(|name| format!("{place}: {name} lives in {owner}")),
                );
            }
            if room == "run" && NEVER_IN_THE_HEART.iter().any(|name| uses_crate(line, name)) {
                broken.push(format!("{place}: {}", line.trim()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "these uses go against ARCHITECTURE.md:\n{}",
        broken.join("\n")
    );
}

#[test]
fn only_the_configuration_reads_the_environment() {
    for (room, place, code) in sources() {
        let reads = code
            .iter()
            .any(|line| line.contains("env::var") || line.contains("env::vars"));
        assert!(!reads || room == "config", "{place} reads the environment");
    }
}

#[test]
fn no_file_is_named_for_what_is_left_over() {
    for (_, place, code) in sources() {
        let name = place.rsplit('/').next().unwrap_or_default();
        let bad = [
            "mod.rs",
            "utils.rs",
            "util.rs",
            "helpers.rs",
            "common.rs",
            "misc.rs",
            "prelude.rs",
        ];
        assert!(!bad.contains(&name), "{place} says nothing of what is in it");
        assert!(
            !code.iter().any(|line| line.contains("#[allow")),
            "{place}: expect a lint with a reason instead"
        );
    }
}

#[test]
fn no_test_asks_a_provider_that_is_not_judged() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    for path in source_files(&root).expect("the tests can be read") {
        let place = path
            .strip_prefix(&root)
            .expect("it is below the root")
            .to_string_lossy();
        let text = fs::read_to_string(&path).expect("a test is text");
        let is_known = SERVICES.iter().any(|(known, _)| *known == place);
        assert!(
            is_known || !text.contains(r#""serve""#),
            "{place}: nobody judges what it asks its provider; see `Service`"
        );
        for line in text.lines().map(without_texts) {
            for (means, places) in PROVIDERS {
                let judged = places.contains(&place.as_ref());
                assert!(judged || !line.contains(means), "{place}: nobody judges {means}");
            }
        }
    }
}

#[test]
fn no_check_starts_a_simulator_that_is_not_judged() {
    let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers");
    for entry in fs::read_dir(peers).expect("the checks can be read") {
        let path = entry.expect("an entry").path();
        let is_program = path.extension().is_some_and(|extension| extension == "py");
        if is_program && !path.ends_with("service.py") {
            let text = fs::read_to_string(&path).expect("a check is text");
            assert!(
                !text.contains(r#""simulate""#),
                "{}: see `simulating`",
                path.display()
            );
        }
    }
}
