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
    assert_eq!(search.timeouts.of("any"), Some(Duration::from_millis(1500)));
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
fn whether_a_server_may_ask_models_is_read() {
    let read = |entry: &str| {
        let json = format!(r#"{{"mcpServers": {{"a": {{"command": "x"{entry}}}}}}}"#);
        parse(&json).servers.remove(0)
    };
    assert_eq!(read("").sampling, SamplingPolicy::default());
    assert_eq!(read("").sampling.allow, Consent::Deny);
    assert_eq!(
        (read("").pin_tools, read(r#", "pin_tools": false"#).pin_tools),
        (None, Some(false))
    );
    let sampling = read(r#", "sampling": {"allow": "ask", "model": "${TOKEN}", "max_tokens": 5}"#).sampling;
    assert_eq!(
        (sampling.allow, sampling.model.as_str()),
        (Consent::Ask, "s3cret")
    );
    assert_eq!((sampling.max_tokens, sampling.max_requests), (5, 8));
}

#[test]
fn a_model_that_nobody_has_is_named_with_the_server_that_would_ask_it() {
    let refusal = |name: &str| (name == "smal").then(|| "no model is called \"smal\"".to_owned());
    let check = |model: &str| {
        let json = format!(
            r#"{{"mcpServers": {{"x": {{"command": "x"}}, "a": {{"command": "x", "sampling": {{"model": "{model}"}}}}}}}}"#
        );
        let checked = parse(&json).check_models(refusal);
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(check("small"), "");
    assert_eq!(
        check("smal"),
        "mcpServers.a.sampling.model: no model is called \"smal\""
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    assert_eq!(
        problem("{\"mcpServers\": {\"a\": {\"command\": \"x\"},\n\"a\": {\"command\": \"y\"}}}"),
        "mcpServers.a: stands there twice, again in line 2"
    );
}

#[test]
fn what_is_said_of_tools_that_are_not_there_is_named_with_its_place() {
    let config = parse(
        r#"{"mcpServers": {"a": {
            "command": "x", "allowed_tools": ["red", "reed*"], "denied_tools": ["*"],
            "tool_policies": {"read": "ask", "rm": "deny"}, "tool_timeouts_ms": {"re*": 5, "x*": 5}
        }}}"#,
    );
    let unmatched = config.servers[0].unmatched(&["read", "write"]);
    let expected = [
        "mcpServers.a.allowed_tools[0] (\"red\")",
        "mcpServers.a.allowed_tools[1] (\"reed*\")",
        "mcpServers.a.tool_policies.rm",
        "mcpServers.a.tool_timeouts_ms.x*",
    ];
    assert_eq!(unmatched, expected);
    assert_eq!(
        parse(r#"{"mcpServers": {"a": {"command": "x"}}}"#).servers[0].unmatched(&[]),
        [""; 0]
    );
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
            r#"{"mcpServers": {"a": {"command": "x", "connections": 2}}}"#,
            "mcpServers.a.connections: goes with 'url', which is not there",
        ),
        (
            r#"{"mcpServers": {"a": {"url": "http://h", "connections": 33}}}"#,
            "mcpServers.a.connections: expected a whole number from 1 to 32",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "pin_tools": "yes"}}}"#,
            "mcpServers.a.pin_tools: expected true or false",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "sampling": "ask"}}}"#,
            "mcpServers.a.sampling: expected an object",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "sampling": {"allow": "yes"}}}}"#,
            "mcpServers.a.sampling.allow: 'yes': expected \"deny\", \"ask\" or \"allow\"",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "sampling": {"max_token": 5}}}}"#,
            "mcpServers.a.sampling.max_token: unknown key; the nearest known one is 'max_tokens'",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "sampling": {"max_requests": 0}}}}"#,
            "mcpServers.a.sampling.max_requests: expected a whole number from 1 to 1000",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "log_level": "trace"}}}"#,
            "mcpServers.a.log_level: 'trace': expected \"debug\", \"info\",",
        ),
        (
            r#"{"mcpServers": {"a": {"command": "x", "type": "sse"}}}"#,
            "mcpServers.a.type: 'sse' needs 'url'",
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
            "plain": {"command": "x", "tool_policies": {"wipe": "deny"}},
            "broad": {"command": "x", "policy": "ask", "tool_policies": {"w*": "deny", "*e": "allow", "other": "allow", "*r": "deny"}}
        }}"#,
    );
    let policies = |server: usize| {
        let policies = &config.servers[server].policies;
        ["read", "wipe", "other"].map(|tool| policies.of(tool, &Annotations::default()))
    };
    assert_eq!(policies(0), [Policy::Allow, Policy::Deny, Policy::Ask]);
    assert_eq!(policies(1), [Policy::Allow, Policy::Deny, Policy::Allow]);
    // The name itself says more than any pattern; of patterns, the strictest holds.
    assert_eq!(policies(2), [Policy::Ask, Policy::Deny, Policy::Allow]);
}

#[test]
fn calls_are_bounded_by_server_and_by_tool_and_tools_are_listed() {
    let config = parse(
        r#"{"mcpServers": {
            "plain": {"command": "x"},
            "bound": {
                "command": "x", "timeout_ms": 5000, "call_limit_ms": 9000, "max_concurrency": 2,
                "tool_timeouts_ms": {"slow*": 8000, "slow_but_not_so": 7000},
                "allowed_tools": ["slow*", "read"], "denied_tools": ["*_so"],
                "roots": ["/srv/files", "file:///srv/more"]
            }
        }}"#,
    );
    let [plain, bound] = config.servers.as_slice() else {
        panic!("expected two servers")
    };
    let seconds = |server: &ServerConfig, tool: &str| server.timeouts.of(tool).map(|limit| limit.as_secs());
    assert_eq!(seconds(plain, "read"), None);
    assert_eq!(plain.timeouts.total, CALL_LIMIT_DEFAULT);
    assert_eq!(plain.max_concurrency, CONCURRENCY_DEFAULT);
    let limits = ["read", "slow", "slow_but_not_so"].map(|tool| seconds(bound, tool));
    assert_eq!(limits, [Some(5), Some(8), Some(7)]);
    assert_eq!(bound.timeouts.total, Duration::from_secs(9));
    assert_eq!(bound.max_concurrency, 2);
    let offered = ["read", "slow", "slow_but_not_so", "write"].map(|tool| bound.offer.has(tool));
    assert_eq!(offered, [true, true, false, false]);
    assert!(plain.offer.has("anything"));
    assert_eq!(bound.roots, ["file:///srv/files", "file:///srv/more"]);
}

#[test]
fn bounds_and_lists_that_do_not_fit_are_named() {
    for (entry, expected) in [
        (
            r#""max_concurrency": 0"#,
            "mcpServers.a.max_concurrency: expected a whole number from 1 to 4096",
        ),
        (
            r#""call_limit_ms": "1s""#,
            "mcpServers.a.call_limit_ms: expected milliseconds from 1 to 86400000",
        ),
        (
            r#""tool_timeouts_ms": {"x": -1}"#,
            "mcpServers.a.tool_timeouts_ms.x: expected milliseconds from 1 to 86400000",
        ),
        (
            r#""allowed_tools": "x""#,
            "mcpServers.a.allowed_tools: expected an array of strings",
        ),
        (
            r#""roots": ["here"]"#,
            "mcpServers.a.roots[0]: expected a file: URL or an absolute path",
        ),
    ] {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "x", {entry}}}}}}}"#);
        let error = Config::parse(&text, |_| None).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}
