//! Command lines, and what they are understood as.

use clap::error::ErrorKind;

use crate::config::key::Scope;
use crate::config::table::KEYS;

use super::*;

fn parse(line: &str) -> Result<Invocation, clap::Error> {
    let words = std::iter::once("assistd").chain(line.split_whitespace());
    Invocation::parse(words.map(OsString::from))
}

#[test]
fn the_grammar_holds_together() {
    grammar().debug_assert();
}

#[test]
fn flags_are_keys_wherever_they_stand() {
    let cases: [(&str, &[(&str, &str)]); 14] = [
        ("", &[]),
        ("export --data-dir d", &[("data_dir", "d")]),
        (
            "mcp login wiki --data-dir d --mcp-config f",
            &[("data_dir", "d"), ("mcp_config", "f")],
        ),
        ("--data-dir d import f", &[("data_dir", "d")]),
        ("--listen [::1]:9", &[("listen", "[::1]:9")]),
        (
            "serve --listen [::1]:9 --no-simulator",
            &[("listen", "[::1]:9"), ("no_simulator", "true")],
        ),
        ("--listen a serve --listen b", &[("listen", "b")]),
        (
            "chat --server http://a --log debug hi",
            &[("server", "http://a"), ("log.filter", "debug")],
        ),
        ("actions --server http://a", &[("server", "http://a")]),
        (
            "actions --server http://a answer r a --approve --server http://b",
            &[("server", "http://b")],
        ),
        (
            "runs cancel r --server http://a --log debug",
            &[("server", "http://a"), ("log.filter", "debug")],
        ),
        ("--log-format json tools", &[("log.format", "json")]),
        ("usage --days 3 --server http://a", &[("server", "http://a")]),
        (
            "config --model m --server http://a",
            &[("server", "http://a"), ("model.name", "m")],
        ),
    ];
    for (line, expected) in cases {
        let invocation = parse(line).unwrap();
        let flags: Vec<(&str, &str)> = invocation
            .flags
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        assert_eq!(flags, expected, "{line}");
    }
}

#[test]
fn without_a_command_the_service_runs() {
    assert!(matches!(parse("").unwrap().command, Command::Serve));
    assert!(matches!(parse("--model m").unwrap().command, Command::Serve));
}

#[test]
fn the_file_is_taken_before_and_after_the_command() {
    for line in ["--config a.toml tools", "tools --config a.toml"] {
        assert_eq!(
            parse(line).unwrap().config,
            Some(PathBuf::from("a.toml")),
            "{line}"
        );
    }
}

#[test]
fn what_cannot_be_understood_is_an_error_of_usage() {
    let cases = [
        ("--listne x", ErrorKind::UnknownArgument),
        ("chta", ErrorKind::InvalidSubcommand),
        ("--listen 127.0.0.1:1 chat", ErrorKind::ArgumentConflict),
        ("tools --listen 127.0.0.1:1", ErrorKind::UnknownArgument),
        ("serve --server http://a", ErrorKind::UnknownArgument),
        ("call", ErrorKind::MissingRequiredArgument),
        ("actions answer r a", ErrorKind::MissingRequiredArgument),
        (
            "actions answer r a --approve --reject no",
            ErrorKind::ArgumentConflict,
        ),
        ("completions tcsh", ErrorKind::InvalidValue),
        ("mcp-server --listen nonsense", ErrorKind::ValueValidation),
    ];
    for (line, kind) in cases {
        let error = parse(line).unwrap_err();
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_chats_own_model_is_not_the_services() {
    let invocation = parse("chat --model m hi").unwrap();
    assert!(invocation.flags.is_empty(), "{:?}", invocation.flags);
}

#[test]
fn help_shows_every_flag_with_its_variable() {
    let help = parse("config --help").unwrap_err().to_string();
    for entry in KEYS {
        if let Some(flag) = &entry.about().flag {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
            assert!(help.contains(entry.about().env), "{}", entry.about().env);
        }
    }
    let top = parse("--help").unwrap_err().to_string();
    for entry in KEYS {
        let scope = entry.about().flag.as_ref().map(|flag| flag.scope);
        if matches!(scope, Some(Scope::Service | Scope::Store)) {
            assert!(top.contains(entry.about().env), "{}", entry.about().env);
        }
    }
    assert!(top.contains("Exit codes:") && top.contains("Examples:"), "{top}");
}
