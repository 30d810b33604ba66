//! Tests the settings as a whole.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, FromArgMatches};

use super::checked::Checked;
use super::combined::check_keys;
use super::*;
use crate::broker::Results;
use crate::consumer::Routes;

#[test]
fn the_first_source_wins() {
    let first = Settings {
        concurrency: Some(1),
        ..Settings::default()
    };
    let second = Settings::from_toml("concurrency = 2\nqueues = ['a', 'b']\nlease = 5").unwrap();
    let config = Config::new(first.or(second)).unwrap();
    assert_eq!(config.concurrency, 1);
    assert_eq!(config.queues, ["a", "b"]);
    assert_eq!(config.lease, Duration::from_secs(5));
    assert_eq!(config.visibility_timeout, Duration::from_hours(1));
}

#[test]
fn no_list_belongs_to_two_queues() {
    let config = Settings::from_toml("sep = ':'").and_then(Config::new);
    let config = config.unwrap();
    let broker = config.redis().unwrap();
    let check = |queues: &[&str]| {
        let queues: Vec<String> = queues.iter().map(ToString::to_string).collect();
        check_keys(broker, &queues).is_ok()
    };
    assert!(check(&["mail", "other"]) && check(&["mail:4", "other:3"]));
    for queues in [["mail", "mail:3"], ["mail:9", "mail"], ["a", "unacked"]] {
        assert!(!check(&queues), "{queues:?}");
    }
}

#[test]
fn wrong_settings_are_named() {
    let wrong = |toml: &str| {
        let error = Settings::from_toml(toml).and_then(Config::new);
        error.unwrap_err().to_string()
    };
    for (toml, part) in [
        ("broker = 'http://u:secret@h'", "CELERY_BROKER_URL"),
        ("broker = 'redis+cluster://u:secret@h'", "hash tag"),
        (
            "broker = 'redis+cluster://h'\nkey_prefix = 'shop:'",
            "--key-prefix",
        ),
        (
            "broker = 'redis+cluster://h?prefix={a}'\nkey_prefix = '{b}'",
            "contradict",
        ),
        (
            "broker = 'redis+cluster://h?prefix={a}'\nresult_key_prefix = 'r:'",
            "--result-key-prefix",
        ),
        ("result_backend = 'redis+cluster://u:secret@h'", "hash tag"),
        ("broker = 'redis+cluster://h/1?prefix={a}'", "database 0"),
        (
            "result_backend = 'mongo://u:secret@h'",
            "CELERY_RESULT_BACKEND",
        ),
        ("database = 'oracle://u:secret@h/d'", "DATABASE_URL"),
        ("queues = []", "--queues"),
        ("accept_content = []", "--accept-content"),
        ("accept_content = ['json', 'pickle']", "--accept-content"),
        ("result_serializer = 'pickle'", "--result-serializer"),
        ("result_compression = 'gz'", "--result-compression"),
        ("default_priority = 10", "--default-priority"),
        ("queues = ['unacked_index']", "--queues"),
        ("queues = [\"a\\r\\nb\"]", "--queues"),
        ("queue_order_strategy = 'best'", "--queue-order-strategy"),
        ("queue_weights = { celery = 0 }", "--queue-weights"),
        ("default_queue = ''", "--default-queue"),
        ("default_queue = \"a\\nb\"", "--default-queue"),
        ("[routes]\n'mail.*' = ''", "the route of \"mail.*\""),
        ("[routes]\n'mail.*' = ''", "CELERY_WORKER_ROUTES"),
        ("[routes]\n'mail.[z-a]*' = 'mails'", "[z-a]"),
        (
            "[routes]\n'mail.*' = { exchange = 'x' }",
            "member queue alone",
        ),
        ("[routes]\n'mail.*' = 5", "member queue alone"),
        ("queue_weights = { other = 2 }", "not consumed"),
        ("fair_queues = { other = '0' }", "not consumed"),
        ("fair_queues = { celery = 'a..b' }", "names no argument"),
        (
            "queues = ['a', 'a.fair.1']\nfair_queues = { a = '0' }",
            "the name of a group",
        ),
        (
            "queue_order_strategy = 'sorted'\nqueue_weights = { celery = 2 }",
            "already",
        ),
        ("priority_steps = [3, 6]", "--priority-steps"),
        ("priority_steps = '0,10'", "--priority-steps"),
        ("priority_steps = [0, 9, 3]", "must ascend"),
        (
            "broker = 'redis://h?priority_steps=0,3'\npriority_steps = [0, 9]",
            "beside a URL",
        ),
        ("sep = ''", "CELERY_WORKER_PRIORITY_SEP"),
        ("sep = '123456789'", "1 to 8 bytes"),
        ("sep = ':'\nqueues = ['mail', 'mail:3']", "\"mail:3\""),
        ("concurrency = 0", "--concurrency"),
        ("database_connections = 0", "--database-connections"),
        ("database_time_zone = 'CEST'", "\"CEST\""),
        ("database_time_zone = '+25:00'", "--database-time-zone"),
        ("loglevel = 'LOUD'", "--loglevel"),
        (
            "log_fields = ['message']",
            "only lines of --log-format json",
        ),
        ("log_format = 'json'\nlog_fields = []", "--log-fields"),
        ("lease = 'soon'", "--lease"),
        ("lease = 1e19", "--lease"),
        ("key_prefix = \"a\\n\"", "--key-prefix"),
        ("result_expires = '500ms'", "--result-expires"),
        (
            "result_failure_expires = '500ms'",
            "--result-failure-expires",
        ),
        ("metrics_addr = 'all:9808'", "--metrics-addr"),
        (
            "worker_soft_shutdown_timeout = 'x'",
            "--soft-shutdown-timeout",
        ),
        ("\nbroker = 5 # secret", "line 2"),
        ("colour = 'secret'", "colour"),
    ] {
        let text = wrong(toml);
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn the_printed_settings_hide_passwords_and_can_be_read() {
    let settings = Settings {
        broker: Some("redis://u:secret@h/1".into()),
        result_backend: Some("redis://:secret@other".into()),
        database: Some("mysql://u:secret@h/d".into()),
        database_time_zone: Some("Europe/Berlin".into()),
        key_prefix: Some("shop:".into()),
        result_key_prefix: Some(String::new()),
        queues: Some(vec!["a b".into()]),
        queue_weights: Some([("a b".into(), 3)].into()),
        default_queue: Some("other".into()),
        routes: Some(Routes::new([("z.*", "a\"b"), ("a.*", "c d"), ("m", "e")])),
        ..Settings::default()
    };
    let printed = Config::new(settings).unwrap().to_string();
    assert!(!printed.contains("secret"), "{printed}");
    let again = Config::new(Settings::from_toml(&printed).unwrap()).unwrap();
    assert_eq!(again.to_string(), printed);
}

#[test]
fn the_url_of_a_cluster_may_name_the_prefix() {
    let config = |toml: &str| Config::new(Settings::from_toml(toml).unwrap()).unwrap();
    let by_url = config("broker = 'redis+cluster://a;redis+cluster://b?prefix={shop}:'");
    let by_setting =
        config("broker = 'redis+cluster://a;redis+cluster://b'\nkey_prefix = '{shop}:'");
    for config in [&by_url, &by_setting] {
        assert_eq!(config.key_prefix.as_deref(), Some("{shop}:"));
        assert_eq!(config.redis().unwrap().key_prefix(), "{shop}:");
        assert_eq!(config.result_backend, Results::Broker);
        let again = Config::new(Settings::from_toml(&config.to_string()).unwrap()).unwrap();
        assert_eq!(again.to_string(), config.to_string());
    }
    let elsewhere = "broker = 'redis+cluster://a?prefix={shop}:'\nresult_backend = ";
    for (backend, prefix) in [
        ("'redis+cluster://b'", "{shop}:"),
        ("'redis+cluster://b?prefix={r}:'", "{r}:"),
        ("'redis://b'\nresult_key_prefix = 'r:'", "r:"),
        // Another slot of the broker's cluster.
        ("'redis+cluster://a?prefix={r}:'", "{r}:"),
    ] {
        let Results::Server(server) = config(&format!("{elsewhere}{backend}")).result_backend
        else {
            panic!("{backend}");
        };
        assert_eq!(server.key_prefix(), prefix, "{backend}");
    }
}

#[test]
fn results_have_the_brokers_prefix_by_default() {
    let config = |toml: &str| Config::new(Settings::from_toml(toml).unwrap()).unwrap();
    let shop = config("key_prefix = 'shop:'");
    assert_eq!(shop.redis().unwrap().key_prefix(), "shop:");
    assert_eq!(shop.result_backend, Results::Broker);
    let elsewhere = config("key_prefix = 'shop:'\nresult_backend = 'redis://other'");
    let bare = config("key_prefix = 'shop:'\nresult_key_prefix = ''");
    for (config, prefix) in [(elsewhere, "shop:"), (bare, "")] {
        let Results::Server(server) = config.result_backend else {
            panic!("{:?}", config.result_backend)
        };
        assert_eq!(server.key_prefix(), prefix);
    }
}

#[test]
fn priorities_come_from_the_url_or_from_settings() {
    let config = |toml: &str| Config::new(Settings::from_toml(toml).unwrap()).unwrap();
    for (toml, list) in [
        ("", "q\u{6}\u{16}9"),
        ("priority_steps = [0, 5]\nsep = ':'", "q:5"),
        ("priority_steps = '0,8'", "q\u{6}\u{16}8"),
        ("broker = 'redis://h?priority_steps=0,5&sep=:'", "q:5"),
        ("broker = 'redis://h?priority_steps=0,5'\nsep = '-'", "q-5"),
        ("sep = ':'\nqueues = ['a:b', 'a', 'a:4']", "q:9"),
    ] {
        let config = config(toml);
        assert_eq!(config.keys().queue("q", 9), list, "{toml}");
        let again = Settings::from_toml(&config.to_string()).and_then(Config::new);
        assert_eq!(again.unwrap().keys().queue("q", 9), list, "{toml}");
    }
}

#[test]
fn a_port_alone_means_loopback() {
    for (text, address) in [
        ("9808", "127.0.0.1:9808"),
        (":0", "127.0.0.1:0"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::1]:80", "[::1]:80"),
    ] {
        assert_eq!(
            SocketAddr::check(text.to_owned()).unwrap().to_string(),
            address
        );
    }
}

/// The table between `| option |` and the row of `--config`, which is not a setting.
#[test]
fn the_reference_lists_the_settings_as_they_are_declared() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/worker.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (before, rest) = text.split_once("|---|---|---|---|---|\n").unwrap();
    let (_, after) = rest.split_once("| `--config` |").unwrap();
    let rows: Vec<String> = SETTINGS.all().map(setting::Setting::row).collect();
    let table = rows.join("\n");
    let expected = format!("{before}|---|---|---|---|---|\n{table}\n| `--config` |{after}");
    if std::env::var_os("CELERY_WRITE_REFERENCE").is_some() {
        std::fs::write(page, expected).unwrap();
        return;
    }
    assert!(
        text == expected,
        "the table of settings in docs/reference/worker.md is not that of the declaration; \
         run this test with CELERY_WRITE_REFERENCE=1 to write it. It must be:\n{table}"
    );
}

/// A value of each setting as an option and in a file, and as `--print-config` prints it.
const SAMPLES: [(&str, &str, &str, &str); 70] = [
    (
        "broker",
        "redis://h/1",
        "'redis://h/1'",
        "\"redis://h:6379/1\"",
    ),
    ("key_prefix", "-shop:", "'-shop:'", "\"-shop:\""),
    ("result_backend", "disabled", "'disabled'", "\"disabled\""),
    ("result_key_prefix", "r:", "'r:'", "\"r:\""),
    ("master_name", "m", "'m'", "\"m\""),
    ("result_expires", "2h", "7200", "\"7200s\""),
    ("result_failure_expires", "3h", "10800", "\"10800s\""),
    ("result_chord_expires", "4h", "14400", "\"14400s\""),
    ("database", "sqlite:x", "'sqlite:x'", "\"sqlite:x\""),
    ("database_timeout", "1m", "60.0", "\"60s\""),
    ("database_connections", "3", "3", "3"),
    ("database_time_zone", "-02:00", "'-02:00'", "\"-02:00\""),
    ("queues", "a,b", "['a', 'b']", "[\"a\", \"b\"]"),
    ("exclude_queues", "b", "['b']", ""),
    ("direct", "true", "true", "true"),
    ("queue_order_strategy", "sorted", "'sorted'", "\"sorted\""),
    (
        "queue_weights",
        "celery=3",
        "{ celery = 3 }",
        "{ \"celery\" = 3 }",
    ),
    (
        "fair_queues",
        "celery=order.tenant",
        "{ celery = 'order.tenant' }",
        "{ \"celery\" = \"order.tenant\" }",
    ),
    ("priority_steps", "0,5", "[0, 5]", "[0, 5]"),
    ("sep", "-", "'-'", "\"-\""),
    ("default_queue", "shop", "'shop'", "\"shop\""),
    ("routes", "a.*=b", "{ 'a.*' = 'b' }", "{ \"a.*\" = \"b\" }"),
    ("inherit_parent_priority", "true", "true", "true"),
    ("default_priority", "3", "3", "3"),
    ("allow_error_cb_on_chord_header", "true", "true", "true"),
    ("purge", "true", "true", "true"),
    (
        "accept_content",
        "yaml,json",
        "['yaml', 'json']",
        "[\"yaml\", \"json\"]",
    ),
    ("concurrency", "7", "7", "7"),
    ("prefetch_multiplier", "0", "0", "0"),
    ("disable_prefetch", "true", "true", "true"),
    ("time_limit", "1m", "60", "\"60s\""),
    ("soft_time_limit", "500ms", "0.5", "\"0.5s\""),
    ("default_rate_limit", "100/m", "'100/m'", "\"100/m\""),
    ("disable_rate_limits", "true", "true", "true"),
    ("deduplicate_successful_tasks", "true", "true", "true"),
    ("max_tasks_per_child", "9", "9", "9"),
    ("max_memory_per_child", "9000", "9000", "9000"),
    ("ignore_result", "true", "true", "true"),
    ("result_serializer", "yaml", "'yaml'", "\"yaml\""),
    ("result_compression", "zlib", "'gzip'", "\"gzip\""),
    ("result_extended", "true", "true", "true"),
    ("track_started", "true", "true", "true"),
    ("store_errors_even_if_ignored", "true", "true", "true"),
    ("hostname", "w@h", "'w@h'", "\"w@h\""),
    ("loglevel", "info", "'info'", "\"INFO\""),
    ("send_sent_event", "true", "true", "true"),
    ("logfile", "/log", "'/log'", "\"/log\""),
    (
        "pidfile",
        "/run/%n.pid",
        "'/run/%n.pid'",
        "\"/run/celery.pid\"",
    ),
    ("log_format", "json", "'json'", "\"json\""),
    (
        "log_fields",
        "t=timestamp,*",
        "['t=timestamp', '*']",
        "[\"t=timestamp\", \"*\"]",
    ),
    ("visibility_timeout", "12h", "43200", "\"43200s\""),
    ("lease", "1500ms", "1.5", "\"1.5s\""),
    ("claim", "script", "'script'", "\"script\""),
    ("create_queues", "quorum", "'quorum'", "\"quorum\""),
    ("eta_task_limit", "9", "9", "9"),
    ("task_events", "true", "true", "true"),
    ("beat", "true", "true", "true"),
    (
        "timezone",
        "Europe/Berlin",
        "'Europe/Berlin'",
        "\"Europe/Berlin\"",
    ),
    ("exactly_once", "true", "true", "true"),
    ("inbox_expires", "0", "0", "\"0s\""),
    ("metrics_addr", "9808", "'9808'", "\"127.0.0.1:9808\""),
    (
        "otlp_endpoint",
        "http://h:4318/",
        "'http://h:4318'",
        "\"http://h:4318/v1/traces\"",
    ),
    ("otlp_certificate", "/ca.pem", "'/ca.pem'", "\"/ca.pem\""),
    ("otlp_headers", "key=s", "'key=s'", "\"key=***\""),
    ("otlp_service", "mails", "'mails'", "\"mails\""),
    ("otlp_resource", "a=b,c=d", "'a=b,c=d'", "\"a=b,c=d\""),
    ("otlp_ratio", "0.5", "0.5", "0.5"),
    ("soft_shutdown_timeout", "10", "10", "\"10s\""),
    ("without_control", "true", "true", "true"),
    ("without_mingle", "true", "true", "true"),
];

#[test]
fn each_setting_is_read_from_the_command_line_and_from_a_file() {
    let names: Vec<&str> = SETTINGS.all().map(|setting| setting.name).collect();
    assert_eq!(
        names,
        SAMPLES.map(|(name, ..)| name),
        "a sample of each is needed"
    );
    for (setting, (name, option, value, printed)) in SETTINGS.all().zip(SAMPLES) {
        // The settings of a database are printed beside one, a prefix of results beside their server,
        // and fields of the log beside their format.
        let beside = match name {
            "database" => "",
            _ if name.starts_with("database") => "database = 'sqlite:y'\n",
            "result_key_prefix" => "result_backend = 'redis://other'\n",
            "log_fields" => "log_format = 'json'\n",
            _ => "",
        };
        let argument = setting.argument();
        let option = format!("--{}={option}", argument.get_long().unwrap());
        let command = Settings::augment_args(clap::Command::new("worker"));
        let mut matches = command.try_get_matches_from(["worker", &option]).unwrap();
        let given = Settings::from_arg_matches_mut(&mut matches).unwrap();
        let given = given.or(Settings::from_toml(beside).unwrap());
        let filed = Settings::from_toml(&format!("{beside}{name} = {value}")).unwrap();
        let [given, filed] = [given, filed].map(|it| Config::new(it).unwrap().to_string());
        assert_eq!(given, filed, "{name}");
        if printed.is_empty() {
            // This setting only changes another one, which is printed instead.
            assert!(!given.contains(name), "{given}");
            continue;
        }
        let line = format!("{name} = {printed}");
        assert!(
            given.lines().any(|it| it == line),
            "{line} is not in {given}"
        );
    }
}

#[test]
fn each_setting_has_names_of_its_own() {
    let mut seen = std::collections::HashSet::new();
    for setting in SETTINGS.all() {
        let argument = setting.argument();
        let names = [
            argument.get_long().map(|long| format!("--{long}")),
            argument.get_short().map(|short| format!("-{short}")),
            argument
                .get_env()
                .map(|name| name.to_string_lossy().into_owned()),
        ];
        for name in names.into_iter().flatten() {
            assert!(seen.insert(name.clone()), "{name} stands for two settings");
        }
    }
}

#[test]
fn a_database_has_the_declared_number_of_connections_by_default() {
    let config = Config::new(Settings::default()).unwrap();
    assert_eq!(config.database_connections, crate::database::CONNECTIONS);
}

#[test]
fn a_direct_queue_has_the_name_of_its_node() {
    let queues = |toml: &str| {
        let config = Settings::from_toml(toml).and_then(Config::new).unwrap();
        (config.queues.clone(), config.to_string())
    };
    let (names, printed) = queues("direct = true\nhostname = 'w1@web'");
    assert_eq!(names, ["celery", "w1@web.dq2"]);
    assert_eq!(queues(&printed).0, names);
    let (names, _) = queues("worker_direct = true\nhostname = 'w1@web'\nqueues = ['mails']");
    assert_eq!(names, ["mails", "w1@web.dq2"]);
    assert_eq!(queues("hostname = 'w1@web'").0, ["celery"]);
}
