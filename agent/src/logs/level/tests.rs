use outrigger_protocol::log::Level::{self, Debug, Error, Info, Trace, Warn};
use proptest::prelude::*;

use super::detect;

fn check(samples: &[(&str, Level)]) {
    for (line, level) in samples {
        assert_eq!(detect(line), *level, "{line}");
    }
}

#[test]
fn json_says_its_level_in_a_member_of_its_own() {
    check(&[
        (r#"{"time":1,"level":"warn","msg":"x"}"#, Warn),
        // zap, zerolog, logrus
        (r#"{"level":"dpanic","ts":1767225600.1,"caller":"app/main.go:7","msg":"x"}"#, Error),
        (r#"{"level":"debug","time":"2026-01-01T00:00:00Z","message":"x"}"#, Debug),
        // slog
        (r#"{"time":"2026-01-01T00:00:00Z","level":"ERROR+2","msg":"x"}"#, Error),
        // pino and bunyan
        (r#"{"level": 50,"time":1767225600000,"pid":1,"hostname":"h","msg":"pino"}"#, Error),
        (r#"{"name":"app","hostname":"h","pid":1,"level":40,"msg":"x","v":0}"#, Warn),
        (r#"{"level":10,"msg":"x"}"#, Trace),
        // GELF and journald
        (r#"{"version":"1.1","host":"h","short_message":"x","level":3}"#, Error),
        (r#"{"MESSAGE":"x","PRIORITY":"7"}"#, Debug),
        // Google Cloud
        (r#"{"severity":"DEBUG","message":"level"}"#, Debug),
        (r#"{"message":"x","severity":"EMERGENCY"}"#, Error),
        // Python
        (r#"{"asctime":"2026-01-01 00:00:00,000","levelname":"CRITICAL","message":"x"}"#, Error),
        (r#"{"message":"x","levelno":30}"#, Warn),
        // logstash, whose message comes first
        (r#"{"@timestamp":"2026-01-01T00:00:00Z","message":"{\"level\":\"error\"}","log_level":"INFO"}"#, Info),
        // ECS, Serilog, .NET, OpenTelemetry, MongoDB
        (r#"{"@timestamp":"2026-01-01T00:00:00Z","log.level":"WARN","message":"x"}"#, Warn),
        (r#"{"@t":"2026-01-01T00:00:00Z","@mt":"x","@l":"Warning"}"#, Warn),
        (r#"{"Timestamp":"00:00:00 ","EventId":14,"LogLevel":"Critical","Message":"x"}"#, Error),
        (r#"{"body":"x","severity_number":17}"#, Error),
        (r#"{"severityText":"WARN","severityNumber":13}"#, Warn),
        (r#"{"t":{"$date":"2026-01-01T00:00:00.000+00:00"},"s":"W","c":"NETWORK","msg":"x"}"#, Warn),
        // Blanks, escapes, and what is no JSON after all
        ("  { \"msg\" : \"a \\\"quoted\\\" word\" , \"level\" : \"error\" }", Error),
        (r#"{"msg":"cut off in the mid"#, Info),
        (r#"{"level":"war"#, Info),
        ("{not json, level: error}", Info),
        ("{", Info),
    ]);
}

#[test]
fn what_is_nested_or_quoted_says_nothing_about_the_line() {
    check(&[
        (r#"{"msg":"no level here, error!"}"#, Info),
        (r#"{"request":{"level":"error","depth":[{"level":"error"}]},"level":"debug"}"#, Debug),
        (r#"{"msg":"\"level\":\"error\"","ok":true}"#, Info),
        (r#"{"s":"E","msg":"a letter alone is no level"}"#, Info),
        (r#"{"level":99,"severity":"warn"}"#, Warn),
        (r#"ts=1 msg="a level=error in a text" level=debug"#, Debug),
        (r#"msg="ends in \" level=error" lvl=warn"#, Warn),
    ]);
}

#[test]
fn logfmt_says_its_level_in_a_field_of_its_own() {
    check(&[
        ("ts=2026-01-01 level=error msg=\"x\"", Error),
        ("time=\"2026-01-01T00:00:00Z\" level=\"warning\" msg=x", Warn),
        ("time=2026-01-01T00:00:00.000Z level=DEBUG-2 msg=x", Debug),
        ("2026-01-01T00:00:00Z main.go:7: lvl=dbug msg=x", Debug),
        ("level=50 msg=x", Error),
        ("level= msg=x", Info),
        ("sublevel=error", Info),
        ("x=level=error", Info),
    ]);
}

#[test]
fn levels_of_common_text_formats_are_found() {
    check(&[
        // env_logger, tracing
        ("[2026-01-01T00:00:00Z ERROR app::db] lost", Error),
        ("2026-01-01T00:00:00.000000Z  WARN app::db: slow", Warn),
        // log4j, logback, Spring Boot, Elasticsearch, Kafka, java.util.logging
        ("2026-01-01 00:00:00,123 [main] DEBUG c.e.App - x", Debug),
        ("00:00:00.123 [http-nio-8080-exec-1] TRACE c.e.App - x", Trace),
        ("2026-01-01T00:00:00.000Z  WARN 1 --- [           main] c.e.App : x", Warn),
        ("[2026-01-01T00:00:00,000][WARN ][o.e.c.r.a.DiskThresholdMonitor] [node] high disk watermark", Warn),
        ("[2026-01-01 00:00:00,000] ERROR Error while reading checkpoint file (kafka.server)", Error),
        ("SEVERE: x", Error),
        ("FINE: x", Debug),
        // Python: logging, loguru, gunicorn, uvicorn, celery, airflow
        ("WARNING:root:x", Warn),
        ("2026-01-01 00:00:00.000 | ERROR    | __main__:<module>:7 - x", Error),
        ("[2026-01-01 00:00:00 +0000] [7] [CRITICAL] WORKER TIMEOUT (pid:9)", Error),
        ("INFO:     127.0.0.1:1234 - \"GET /error HTTP/1.1\" 500", Info),
        ("[2026-01-01 00:00:00,000: ERROR/MainProcess] consumer: cannot connect", Error),
        ("[2026-01-01T00:00:00.000+0000] {taskinstance.py:1} ERROR - x", Error),
        // Go: zap's console, logrus on a terminal, slog's text, zerolog's console, glog
        ("2026-01-01T00:00:00.000Z\tERROR\tapp/main.go:7\tx", Error),
        ("ERRO[0000] x", Error),
        ("INFO[0000] started", Info),
        ("time=2026-01-01T00:00:00.000Z level=WARN msg=x", Warn),
        ("3:04PM ERR x", Error),
        ("E0102 15:04:05.000000 1 x.go:1] y", Error),
        ("W1231 15:04:05.000000       1 reflector.go:324] y", Warn),
        // Ruby, PHP, .NET, Elixir, Perl's and Gin's debug
        ("W, [2026-01-01T00:00:00.000000 #1]  WARN -- : x", Warn),
        ("PHP Fatal error:  Uncaught Exception", Error),
        ("PHP Warning:  Undefined variable", Warn),
        ("fail: Microsoft.AspNetCore.Server.Kestrel[13]", Error),
        ("dbug: Microsoft.AspNetCore.Hosting[1]", Debug),
        ("[00:00:00 FTL] x", Error),
        ("00:00:00.000 [error] GenServer terminating", Error),
        ("[GIN-debug] Listening and serving HTTP on :8080", Debug),
        // Servers
        ("2026/01/01 00:00:00 [crit] 7#7: x", Error),
        ("[Wed Oct 11 14:32:52 2000] [core:error] [pid 1:tid 2] x", Error),
        ("2026-01-01 00:00:00.000 UTC [12] FATAL:  the database system is starting up", Error),
        ("2026-01-01T00:00:00.000000Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.", Warn),
        ("1:M 01 Jan 2026 00:00:00.000 # WARNING overcommit_memory is set to 0!", Warn),
        ("1:M 01 Jan 2026 00:00:00.000 * Ready to accept connections", Info),
        ("[2026-01-01 00:00:00.000][1][warning][main] x", Warn),
        ("[NOTICE]   (1) : haproxy version is 3.0", Info),
        // Tools
        ("error: could not compile", Error),
        ("error[E0382]: borrow of moved value", Error),
        ("main.c:1:2: warning: unused variable", Warn),
        ("npm ERR! code ELIFECYCLE", Error),
        ("[warn] disk is getting full", Warn),
        // syslog
        ("<4>low on memory", Warn),
        ("<165>1 2026-01-01T00:00:00Z host app - - - x", Info),
        ("<11>Jan  1 00:00:00 host app: x", Error),
        // Ends of programs
        ("Traceback (most recent call last):", Error),
        ("ValueError: invalid literal for int()", Error),
        ("java.lang.IllegalStateException: x", Error),
        ("thread 'main' panicked at src/main.rs:1:1:", Error),
        ("panic: runtime error: index out of range", Error),
        ("Segmentation fault (core dumped)", Error),
        ("TRACE entering", Trace),
    ]);
}

#[test]
fn a_word_in_a_sentence_is_no_level() {
    let sentences = [
        "no error so far",
        "error_count=0",
        "the panic is over",
        "",
        "   ",
        "Warn the others",
        "all is fine: nothing to do",
        "reading /var/ERROR.log",
        "GET /api/error 200",
        "<html>",
        "<999>not a priority",
        "<+3>nor this",
        "E01",
        "12:M too short",
        "1:Q 01 Jan 2026 00:00:00.000 # no role of Redis",
        "an Exception: in the middle",
    ];
    for line in sentences {
        assert_eq!(detect(line), Level::Info, "{line}");
    }
}

proptest! {
    #[test]
    fn any_text_has_a_level(line: String) {
        detect(&line);
        detect(&format!("{{{line}"));
        detect(&format!("level={line}"));
    }

    #[test]
    fn fragments_of_formats_do_no_harm(
        line in "([{}\":=<>\\[\\]\\\\ ,./!]|level|error|severity|PRIORITY|E0102|1:M|\u{e9}|\u{1f600}|3){0,60}"
    ) {
        detect(&line);
        detect(&format!("{{{line}"));
    }

    #[test]
    fn a_member_is_found_whatever_is_in_the_others(text: String, number: i64) {
        let quoted = serde_json::json!({ "a": text, "b": { "level": "warn", "c": [text] }, "n": number }).to_string();
        let line = format!("{},\"level\":\"error\"}}", quoted.strip_suffix('}').unwrap());
        prop_assert_eq!(detect(&line), Level::Error);
    }
}
