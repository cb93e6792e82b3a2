use super::*;

fn lookup(name: &str) -> Option<String> {
    match name {
        "PATH" => Some("/usr/bin".to_owned()),
        "HOME" => Some("/home/somebody".to_owned()),
        "TOKEN" => Some("s3cret".to_owned()),
        "OPENAI_API_KEY" => Some("not for children".to_owned()),
        _ => None,
    }
}

fn parse(json: &str) -> Config {
    Config::parse(json, lookup).unwrap()
}

fn problem(json: &str) -> String {
    Config::parse(json, lookup).unwrap_err().to_string()
}

#[test]
fn a_configuration_of_an_editor_is_read() {
    let config = parse(
        r#"{"mcpServers": {
            "files": {"command": "npx", "args": ["-y", "server", "${HOME}"], "env": {"KEY": "${env:TOKEN}"},
                      "cwd": "/tmp", "alwaysAllow": ["read"], "timeout": 60, "type": "stdio"},
            "search": {"type": "http", "url": "https://example.com/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"},
                       "prefix": "", "timeout_ms": 1500, "disabled": true}
        }}"#,
    );
    let [files, search] = &config.servers[..] else {
        panic!("expected two servers")
    };
    assert_eq!(
        (files.name.as_str(), files.prefix.as_str(), files.disabled),
        ("files", "files__", false)
    );
    let Endpoint::Stdio(process) = &files.endpoint else {
        panic!("expected a process")
    };
    assert_eq!(process.command, PathBuf::from("npx"));
    assert_eq!(process.args, ["-y", "server", "/home/somebody"]);
    assert_eq!(process.cwd, Some(PathBuf::from("/tmp")));
    assert_eq!(search.prefix, "");
    assert!(search.disabled);
    assert_eq!(search.call_timeout, Duration::from_millis(1500));
    let Endpoint::Http(remote) = &search.endpoint else {
        panic!("expected an address")
    };
    assert_eq!(remote.url, "https://example.com/mcp");
    assert_eq!(remote.headers[0].1, "Bearer s3cret");
}

#[test]
fn a_child_gets_the_listed_variables_and_its_own_and_no_other() {
    let config = parse(r#"{"mcpServers": {"a": {"command": "x", "env": {"HOME": "/other", "KEY": "v"}}}}"#);
    let Endpoint::Stdio(process) = &config.servers[0].endpoint else {
        panic!("expected a process")
    };
    let mut env = process.env.clone();
    env.sort();
    let expected = [("HOME", "/other"), ("KEY", "v"), ("PATH", "/usr/bin")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(env, expected);
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let config = parse(
        r#"{"mcpServers": {
            "a": {"command": "x", "args": ["${TOKEN}"], "env": {"KEY": "${TOKEN}"}},
            "b": {"url": "http://h/", "headers": {"Authorization": "${TOKEN}"}}
        }}"#,
    );
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn every_mistake_is_named_with_its_place() {
    let cases = [
        (
            r#"{"servers": {}}"#,
            "servers: unknown key; the nearest known one is 'mcpServers'",
        ),
        (r#"{}"#, "mcpServers: is missing"),
        (r#"[]"#, "the document: expected an object"),
        (
            r#"{"mcpServers": {"a b": {"command": "x"}}}"#,
            "mcpServers.a b: not a valid name",
        ),
        (
            r#"{"mcpServers": {"a": {}}}"#,
            "mcpServers.a: needs 'command' or 'url'",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "url": "http://h"}}}"#,
            "has both 'command' and 'url'",
        ),
        (
            r#"{"mcpServers": {"a": {"comand": "x"}}}"#,
            "mcpServers.a.comand: unknown key; the nearest known one is 'command'",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "enabled": false}}}"#,
            "mcpServers.a.enabled: unknown key; the nearest known one is 'disabled'",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "args": ["y", 5]}}}"#,
            "mcpServers.a.args[1]: expected a string",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "env": {"K": "${NONE}"}}}}"#,
            "mcpServers.a.env.K: the environment variable NONE is not set",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://h", "type": "sse"}}}"#,
            "mcpServers.a.type: the HTTP+SSE transport of 2024 is not supported",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://h", "type": "stdio"}}}"#,
            "mcpServers.a.type: 'stdio' needs 'command'",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://h", "args": []}}}"#,
            "mcpServers.a.args: goes with 'command'",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "ftp://h"}}}"#,
            "mcpServers.a.url: expected http:// or https://",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://u:p@h"}}}"#,
            "mcpServers.a.url: holds credentials",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://h", "headers": {"Accept": "x"}}}}"#,
            "mcpServers.a.headers.Accept: is set by the protocol itself",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "timeout_ms": 0}}}"#,
            "mcpServers.a.timeout_ms: expected milliseconds",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "prefix": "a."}}}"#,
            "mcpServers.a.prefix: expected up to",
        ),
        (r#"{"mcpServers": "#, "not valid JSON"),
    ];
    for (json, expected) in cases {
        let problem = problem(json);
        assert!(problem.contains(expected), "{json}: {problem}");
    }
}

#[test]
fn the_default_is_the_own_server_with_bare_names() {
    let config = Config::builtin(PathBuf::from("/bin/assistd"));
    assert_eq!(config.servers.len(), 1);
    assert_eq!(config.servers[0].prefix, "");
    let Endpoint::Stdio(process) = &config.servers[0].endpoint else {
        panic!("expected a process")
    };
    assert_eq!(process.args, ["mcp-server"]);
    assert!(process.env.is_empty());
}

#[test]
fn what_is_said_of_a_tool_counts_instead_of_what_is_said_of_its_server() {
    let config = parse(
        r#"{"mcpServers": {
            "careful": {"command": "x", "policy": "ask", "tool_policies": {"read": "allow", "wipe": "deny"}},
            "plain": {"command": "x", "tool_policies": {"wipe": "deny"}}
        }}"#,
    );
    let policies = |server: usize| {
        let policies = &config.servers[server].policies;
        ["read", "wipe", "other"].map(|tool| policies.of(tool, Annotations::default()))
    };
    assert_eq!(policies(0), [Policy::Allow, Policy::Deny, Policy::Ask]);
    assert_eq!(policies(1), [Policy::Allow, Policy::Deny, Policy::Allow]);
}
