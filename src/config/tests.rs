//! The layers and the sections that come of them, against real files.

use std::ffi::OsString;
use std::time::Duration;

use tempfile::TempDir;

use super::key::MASK;
use super::secret::Secret;
use super::*;

/// A directory with its files, an environment and flags.
struct Place {
    directory: TempDir,
    environment: Vec<(OsString, OsString)>,
    flags: Vec<(&'static str, String)>,
}

fn place() -> Place {
    Place {
        directory: tempfile::tempdir().unwrap(),
        environment: Vec::new(),
        flags: Vec::new(),
    }
}

impl Place {
    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, name: &'static str, value: &str) -> Self {
        self.flags.push((name, value.to_owned()));
        self
    }

    fn settings(&self) -> Result<Settings, Error> {
        self.settings_from(None)
    }

    fn settings_from(&self, file: Option<&str>) -> Result<Settings, Error> {
        Settings::read(Inputs {
            flags: self.flags.clone(),
            environment: self.environment.clone(),
            directory: self.directory.path().to_owned(),
            file: file.map(PathBuf::from),
        })
    }

    fn problems(&self) -> Vec<String> {
        let error = self.settings().unwrap_err();
        error.problems().iter().map(ToString::to_string).collect()
    }
}

fn row(settings: &Settings, key: &str) -> (Option<String>, String) {
    let rows = settings.rows();
    let row = rows.into_iter().find(|row| row.key == key).unwrap();
    (row.value, row.source.to_string())
}

#[test]
fn a_flag_wins_over_the_environment_over_the_env_file_over_the_file_over_the_default() {
    let toml = ("assistd.toml", "\n[model]\nname = 'toml'\n");
    let dotenv = (".env", "ASSISTD_MODEL=dotenv\n");
    let layers: [(&str, &str, bool, bool, bool, bool); 6] = [
        ("flag", "--model", true, true, true, true),
        ("env", "ASSISTD_MODEL", false, true, true, true),
        ("dotenv", "ASSISTD_MODEL in ", false, false, true, true),
        ("toml", "assistd.toml:3", false, false, false, true),
        ("gpt-5.4-mini", "default", false, false, false, false),
        ("flag", "--model", true, false, false, true),
    ];
    for (expected, from, by_flag, by_env, by_dotenv, by_toml) in layers {
        let mut place = place();
        if by_toml {
            place = place.file(toml.0, toml.1);
        }
        if by_dotenv {
            place = place.file(dotenv.0, dotenv.1);
        }
        if by_env {
            place = place.env("ASSISTD_MODEL", "env");
        }
        if by_flag {
            place = place.flag("model.name", "flag");
        }
        let settings = place.settings().unwrap();
        let (value, source) = row(&settings, "model.name");
        assert_eq!(value.as_deref(), Some(expected));
        assert!(source.contains(from), "{expected}: {source}");
        assert_eq!(settings.get(&table::MODEL_NAME).as_deref(), Some(expected));
    }
}

#[test]
fn an_empty_variable_leaves_the_word_to_the_next_layer() {
    let settings = place()
        .env("OPENAI_API_KEY", "")
        .env("OPENAI_BASE_URL", "")
        .file("assistd.toml", "model.base_url = 'http://127.0.0.1:9/v1'\n")
        .settings()
        .unwrap();
    assert_eq!(settings.get(&table::MODEL_API_KEY), None);
    let base_url = settings.get(&table::MODEL_BASE_URL);
    assert_eq!(base_url.as_deref(), Some("http://127.0.0.1:9/v1"));
}

#[test]
fn secrets_are_masked_wherever_they_are_shown() {
    let settings = place()
        .env("OPENAI_API_KEY", "sk-secret")
        .file("assistd.toml", "[model.headers]\nx-token = 'tok-secret'\n")
        .settings()
        .unwrap();
    assert_eq!(row(&settings, "model.api_key").0.as_deref(), Some(MASK));
    let headers = row(&settings, "model.headers").0;
    assert_eq!(headers, Some(format!("x-token: {MASK}")));
    let config = Config::from_settings(&settings).unwrap();
    assert!(!format!("{config:?}").contains("-secret"), "{config:?}");
    let key = config.model.endpoint.api_key.as_ref().map(Secret::reveal);
    assert_eq!(key, Some("sk-secret"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let problems = place()
        .file("assistd.toml", "listn = 1\n[run]\nmax_turns = 0\n")
        .file(".env", "ASSISTD_DRAIN_GRACE=soon\n")
        .env("ASSISTD_LISTEN", "8000")
        .env("ASSISTD_MODLE", "x")
        .env("OPENAI_API_KEY", "sk-one\nsk-two")
        .flag("log.format", "xml")
        .problems();
    let expected = [
        "unknown configuration key `ASSISTD_MODLE` (ASSISTD_MODLE); the nearest known one is `ASSISTD_MODEL`",
        "invalid value `8000` for `listen` (ASSISTD_LISTEN); expected an address and a port",
        "invalid value `********` for `model.api_key` (OPENAI_API_KEY); expected one line",
        "invalid value `xml` for `log.format` (--log-format); expected text or json",
    ];
    for part in expected {
        assert!(
            problems.iter().any(|line| line.starts_with(part)),
            "{part}: {problems:#?}"
        );
    }
    let in_files = [
        (
            "unknown configuration key `listn`",
            "assistd.toml:1); the nearest known one is `listen`",
        ),
        (
            "invalid value `0` for `run.max_turns`",
            "assistd.toml:3); expected a whole number",
        ),
        (
            "invalid value `soon` for `api.drain_grace`",
            ".env); expected a duration",
        ),
    ];
    for (start, place) in in_files {
        let found = problems
            .iter()
            .any(|line| line.starts_with(start) && line.contains(place));
        assert!(found, "{start}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len() + in_files.len(), "{problems:#?}");
}

#[test]
fn bad_values_are_refused_for_every_kind_of_key() {
    let cases = [
        ("listen", "localhost"),
        ("data_dir", ""),
        ("store", "mysql://db"),
        ("store", "postgres:db"),
        ("store", "sqlite:"),
        ("no_simulator", "maybe"),
        ("model.base_url", "api.example.com"),
        ("model.name", " "),
        ("log.filter", "assistd=loud"),
        ("server", "ftp://x"),
    ];
    for (key, value) in cases {
        let problems = place().flag(key, value).problems();
        let expected = format!("invalid value `{value}` for `{key}` (--");
        assert!(problems[0].starts_with(&expected), "{problems:?}");
    }
}

#[test]
fn without_any_layer_the_defaults_hold() {
    let settings = place().settings().unwrap();
    let config = Config::from_settings(&settings).unwrap();
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.api.cors_origins, Origins::Any);
    assert_eq!(config.api.body_limit_bytes, 4 * 1024 * 1024);
    assert_eq!(config.run.limits.max_turns, 16);
    assert_eq!(config.run.execution_limit, Duration::from_secs(600));
    assert_eq!(config.model.dialect, None);
    assert!(!config.model.no_simulator);
    assert_eq!(config.mcp.source, McpSource::Builtin);
    assert!(matches!(config.store, StoreSection::Directory(path) if path.ends_with("assistd")));
}

#[test]
fn a_store_in_memory_is_no_directory() {
    for place in [
        place().flag("data_dir", ":memory:"),
        place().file("assistd.toml", "data_dir = ':memory:'\n"),
    ] {
        let config = Config::from_settings(&place.settings().unwrap()).unwrap();
        assert_eq!(config.store, StoreSection::Memory);
    }
}

#[test]
fn a_store_is_wherever_it_is_said_to_be() {
    let cases = [
        ("sqlite:/x/y.db", StoreSection::File("/x/y.db".into())),
        ("sqlite::memory:", StoreSection::Memory),
        (
            "postgres://me:pw@db/x",
            StoreSection::Postgres(Secret::new("postgres://me:pw@db/x")),
        ),
        (
            "postgresql://db",
            StoreSection::Postgres(Secret::new("postgresql://db")),
        ),
    ];
    for (text, expected) in cases {
        let place = place().flag("data_dir", "elsewhere").flag("store", text);
        let settings = place.settings().unwrap();
        let config = Config::from_settings(&settings).unwrap();
        assert_eq!(config.store, expected);
        assert!(
            !format!("{config:?} {:?}", settings.rows()).contains("pw"),
            "{text}"
        );
    }
}

#[test]
fn a_path_in_a_file_is_meant_from_where_the_file_is() {
    let place = place().env("GREETING", "hello");
    let inner = place.directory.path().join("etc");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("mcp.json"), "{}").unwrap();
    std::fs::write(inner.join("here.toml"), "mcp_config = 'mcp.json'\n").unwrap();
    let settings = place.settings_from(Some("etc/here.toml")).unwrap();
    let mcp = Config::from_settings(&settings).unwrap().mcp;
    let expected = McpSource::File {
        path: inner.join("mcp.json"),
        text: "{}".to_owned(),
    };
    assert_eq!(mcp.source, expected);
    assert_eq!(mcp.environment.lookup("GREETING"), Some("hello"));
}

#[test]
fn a_list_of_servers_that_is_not_there_is_named() {
    let settings = place()
        .flag("mcp_config", "/nonexistent/mcp.json")
        .settings()
        .unwrap();
    let error = Config::from_settings(&settings).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read /nonexistent/mcp.json: "),
        "{error}"
    );
    assert!(error.contains("`mcp_config`"), "{error}");
}

#[test]
fn a_file_that_was_asked_for_must_exist() {
    let error = place().settings_from(Some("none.toml")).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read ") && error.contains("none.toml"),
        "{error}"
    );
}

#[test]
fn a_table_of_a_model_says_what_differs_from_the_section_of_all() {
    let place = place().env("BIG_KEY", "sk-big").env("TEAM", "blue").file(
        "assistd.toml",
        "[model]\nidle_timeout = '7s'\nmax_retries = 0\n[models.big]\nmodel = 'big-1'\n\
         base_url = 'http://127.0.0.1:9/v1/'\napi_key_env = 'BIG_KEY'\nheaders = { x-team = 'team ${TEAM}' }\n\
         aliases = ['large']\nconnect_timeout = '1s'\nevent_timeout = '8s'\n[models.small]\napi_key_file = 'key'\nfallbacks = ['large']\n\
         breaker_failures = 0\n",
    );
    let settings = place.flag("model.name", "large").settings().unwrap();
    let model = Config::from_settings(&settings).unwrap().model;
    let [big, small] = model.listed.as_slice() else {
        panic!("there are two models: {:?}", model.listed);
    };
    assert_eq!(model.name, "large");
    assert_eq!((big.name.as_str(), big.provider_model.as_str()), ("big", "big-1"));
    let seconds = Duration::from_secs;
    assert_eq!(
        (big.timeouts.connect, big.timeouts.idle, big.timeouts.event),
        (seconds(1), seconds(7), seconds(8))
    );
    assert_eq!(big.resilience.max_retries, 0);
    assert_eq!(big.endpoint.api_key.as_ref().map(Secret::reveal), Some("sk-big"));
    assert_eq!(
        big.endpoint.headers,
        [("x-team".to_owned(), Secret::new("team blue"))]
    );
    assert_eq!(small.provider_model, "small");
    assert!(small.endpoint.api_key_file.as_ref().unwrap().is_absolute());
    assert_eq!(
        (small.fallbacks.clone(), small.resilience.breaker_failures),
        (vec!["large".to_owned()], 0)
    );
    assert!(!format!("{model:?} {:?}", settings.rows()).contains("sk-big"));
    assert_eq!(
        row(&settings, "models.big.connect_timeout").0.as_deref(),
        Some("1s")
    );
}

#[test]
fn what_is_said_of_the_default_model_holds_for_its_table_where_that_says_nothing_else() {
    let of_all = "[model]\nname = 'b'\ncontext_tokens = 800\nmax_output_tokens = 40\nfallbacks = ['one']\n";
    let own = "context_tokens = 900\nmax_output_tokens = 50\nfallbacks = ['three']\n";
    for (table, expected) in [("", (800, 40, "one")), (own, (900, 50, "three"))] {
        let text = format!("{of_all}[models.one]\n[models.three]\n[models.two]\naliases = ['b']\n{table}");
        let settings = place().file("assistd.toml", &text).settings().unwrap();
        let listed = Config::from_settings(&settings).unwrap().model.listed;
        let said = |name: &str| {
            let model = listed.iter().find(|model| model.name == name).unwrap();
            let fallbacks = model.fallbacks.first().map(String::as_str).unwrap_or_default();
            (
                model.context_tokens,
                model.max_output_tokens,
                fallbacks.to_owned(),
            )
        };
        let (context, output, fallback) = expected;
        assert_eq!(said("two"), (Some(context), Some(output), fallback.to_owned()));
        assert_eq!(said("one"), (None, None, String::new()));
    }
}

#[test]
fn a_table_has_prices_of_its_own_and_the_default_model_else_those_of_all() {
    let prices = |text: &str| {
        let settings = place().file("assistd.toml", text).settings().unwrap();
        let model = Config::from_settings(&settings).unwrap().model;
        let listed = model.listed.into_iter().map(|model| {
            let prices = model.prices.as_ref();
            prices.map(|prices| (prices.input, prices.cached_input, prices.output, prices.reasoning))
        });
        listed.collect::<Vec<_>>()
    };
    let of_all = "[model]\nname = 'b'\ncurrency = 'EUR'\ninput_price = '1'\noutput_price = 2\n[models.one]\n";
    let own = "input_price = '0.5'\noutput_price = '4'\ncached_input_price = '0.05'\nreasoning_price = '6'\n";
    let of_own = (500_000, 50_000, 4_000_000, Some(6_000_000));
    let common = (1_000_000, 1_000_000, 2_000_000, None);
    assert_eq!(
        prices(&format!("{of_all}[models.two]\naliases = ['b']\n")),
        [None, Some(common)]
    );
    assert_eq!(
        prices(&format!("{of_all}{own}[models.two]\naliases = ['b']\n{own}")),
        [Some(of_own), Some(of_own)]
    );
    for (table, problem) in [
        (
            "input_price = '1'",
            "`models.one.input_price` (assistd.toml:2): `output_price` is to be given too",
        ),
        (
            "reasoning_price = 1",
            "`models.one.reasoning_price` (assistd.toml:2): `input_price` is to be given too",
        ),
    ] {
        let problems = place()
            .file("assistd.toml", &format!("[models.one]\n{table}\n"))
            .problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        let (key, reason) = problem.split_once(" (assistd.toml:2)").unwrap();
        assert!(
            problems[0].starts_with(key) && problems[0].ends_with(reason),
            "{problems:?}"
        );
    }
}

#[test]
fn everything_that_is_wrong_with_tables_of_models_is_said_at_once_with_its_line() {
    let problems = place()
        .file(
            "assistd.toml",
            "[models.big]\nmodle = 'x'\nmax_waiting = 'many'\napi_key_env = 'NOT_SET'\nfallbacks = ['smal', 'big']\n\
             [models.small]\naliases = ['big']\nheaders = { x-a = '${NOT_SET}' }\n[models.'a/b']\n",
        )
        .problems();
    let expected = [
        (
            "unknown configuration key `models.big.modle`",
            "assistd.toml:2); the nearest known one is `model`",
        ),
        (
            "invalid value `many` for `models.big.max_waiting`",
            "assistd.toml:3)",
        ),
        (
            "`models.big.fallbacks`",
            "assistd.toml:5): no model is called `smal`; the nearest known one is `small`",
        ),
        (
            "`models.big.fallbacks`",
            "assistd.toml:5): a model cannot stand in for itself",
        ),
        (
            "`models.small.aliases`",
            "assistd.toml:7): `big` is the name of another model too",
        ),
        ("`models.a/b`", "assistd.toml:9): the name may hold letters"),
    ];
    for (start, place) in expected {
        let found = problems
            .iter()
            .any(|line| line.starts_with(start) && line.contains(place));
        assert!(found, "{start}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
}

#[test]
fn what_of_models_contradicts_itself_is_refused_with_its_line() {
    let unlisted = "[model]\nbase_url = 'http://127.0.0.1:9/v1'\nname = 'house'\n";
    let table = [
        (
            "[models.big]\ncontext_tokens = 100\nmax_output_tokens = 101\n".to_owned(),
            "`models.big.max_output_tokens`",
            ":3): 101 is more than the 100 of `context_tokens`",
        ),
        (
            format!("{unlisted}max_output_tokens = 101\ncontext_tokens = 100\n"),
            "`model.max_output_tokens`",
            ":4): 101 is more than the 100 of `model.context_tokens`",
        ),
        (
            "[models.big]\nbase_url = 'http://127.0.0.1:9/v1#part'\n".to_owned(),
            "invalid value `http://127.0.0.1:9/v1#part` for `models.big.base_url`",
            ":2); expected a URL",
        ),
        (
            format!("{unlisted}fallbacks = ['smal']\n[models.small]\n"),
            "`model.fallbacks`",
            ":4): no model is called `smal`; the nearest known one is `small`",
        ),
        (
            // There is no provider for the name that `[model]` has by itself.
            "[models.big]\nfallbacks = ['gpt-5.4-mini']\n".to_owned(),
            "`models.big.fallbacks`",
            ":2): `gpt-5.4-mini` is the model of `[model]`, which has neither a key nor a base URL",
        ),
    ];
    for (text, start, end) in table {
        let settings = place().file("assistd.toml", &text).settings();
        let error = settings
            .and_then(|settings| Config::from_settings(&settings))
            .unwrap_err();
        let [problem] = error.problems() else {
            panic!("{error}");
        };
        let problem = problem.to_string();
        assert!(problem.starts_with(start) && problem.contains(end), "{problem}");
    }
    let text = format!(
        "{unlisted}context_tokens = 9\nmax_output_tokens = 9\nfallbacks = ['s']\n[models.s]\nfallbacks = ['house']\n"
    );
    let settings = place().file("assistd.toml", &text).settings().unwrap();
    Config::from_settings(&settings).unwrap();
}

/// A client in the service's folder has no use for the provider's key.
#[test]
fn variables_that_tables_of_models_refer_to_are_missed_only_by_who_asks_the_models() {
    let settings = place()
        .file(
            "assistd.toml",
            "[models.big]\napi_key_env = 'NOT_SET'\n[models.small]\nheaders = { x-a = '${NOT_SET}' }\n",
        )
        .settings()
        .unwrap();
    let error = Config::from_settings(&settings).unwrap_err();
    let problems: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    let expected = [
        "assistd.toml:2): the environment variable NOT_SET is not set",
        "assistd.toml:4): x-a: the environment variable NOT_SET is not set",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn the_default_of_several_models_has_to_be_said_and_of_one_need_not() {
    let named = |text: &str| {
        let settings = place().file("assistd.toml", text).settings().unwrap();
        Config::from_settings(&settings).map(|config| config.model.name)
    };
    assert_eq!(named("[models.one]\n").unwrap(), "one");
    let two = "[models.one]\n[models.two]\n";
    let error = named(two).unwrap_err().to_string();
    assert!(error.starts_with("no value for `model.name`"), "{error}");
    assert!(error.ends_with("one of one, two"), "{error}");
    let error = named(&format!("{two}[model]\nname = 'thre'\n"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("`model.name` ("), "{error}");
    assert!(error.contains("assistd.toml:4): models are listed"), "{error}");
    assert_eq!(named(&format!("{two}[model]\nname = 'two'\n")).unwrap(), "two");
    let open = format!("{two}[model]\nbase_url = 'http://127.0.0.1:9/v1'\n");
    assert_eq!(named(&open).unwrap(), "gpt-5.4-mini");
}

#[test]
fn who_bounds_the_turns_wants_the_others_left_out() {
    let strategy = |text: &str| {
        let settings = place().file("assistd.toml", text).settings().unwrap();
        Config::from_settings(&settings).map(|config| config.run.truncation.strategy)
    };
    for (text, expected) in [
        ("[run]\n", TruncationStrategy::Disabled),
        ("[run]\nlast_turns = 1\n", TruncationStrategy::Auto),
        (
            "[run]\nlast_turns = 1\ntruncation = \"summarize\"\n",
            TruncationStrategy::Summarize,
        ),
    ] {
        assert_eq!(strategy(text).unwrap(), expected, "{text}");
    }
    let error = strategy("[run]\nlast_turns = 1\ntruncation = \"disabled\"\n").unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("run.last_turns") && text.contains("`run.truncation` is `disabled`"),
        "{text}"
    );
}
