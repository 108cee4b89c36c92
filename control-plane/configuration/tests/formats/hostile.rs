//! Files that mean harm.

use outrigger_configuration::format::{
    ExportedVariable, FILE_BYTES, Form, Format, LineProblemKind, NESTING, NODES, PROBLEMS, parse, write,
};
use outrigger_protocol::environment::{ProblemKind, VariableKind};
use outrigger_protocol::limits;
use proptest::prelude::*;

use crate::{options, problems, variable};

/// Begins like a secret, and is as easily found.
const CANARY: &str = "canary";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn any_bytes_are_variables_or_problems(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in Format::ALL {
            if let Err(problems) = parse(*format, &bytes) {
                prop_assert!(!problems.is_empty());
            }
        }
    }

    #[test]
    fn any_text_is_variables_or_problems(text in "([A-B=:'\"`\\\\$#{}\\[\\],|>&*!%\\-? \t\r\n]|data|kind|\\$\\{|<<|é|\u{feff}){0,60}") {
        for format in Format::ALL {
            let _ = parse(*format, text.as_bytes());
        }
    }

    /// Whoever wrote it, and in whatever way.
    #[test]
    fn what_is_read_can_be_written_and_read_again(
        format in proptest::sample::select(Format::ALL),
        lines in proptest::collection::vec("(export )?[A-Z][:=] ?(['\"`]?[ab$#=\\\\]{0,3}(\\$\\{A\\}|\n|\r\n)?[ nt'\"{]{0,2}['\"`]?)( #x)?", 1..4),
    ) {
        let head = if format == Format::K8s { "apiVersion: v1\nkind: ConfigMap\ndata:\n " } else { "" };
        let file = format!("{head}{}", lines.join(if format == Format::K8s { "\n " } else { "\n" }));
        let Ok(variables) = parse(format, file.as_bytes()) else { return Ok(()) };
        let exported: Vec<_> = variables.iter().map(|read| ExportedVariable {
            value: read.value.clone(),
            literal: read.literal,
            kind: read.kind.unwrap_or(VariableKind::String),
            ..variable(&read.name, "")
        }).collect();
        let again = write(format, &exported, &options(Form::Flat)).expect("what was read fits");
        let tells_unset = matches!(format, Format::Json | Format::Yaml);
        let told = variables.iter().filter(|read| tells_unset || read.value.is_some());
        let expected: Vec<_> = told.map(|read| (read.name.clone(), read.written())).collect();
        let read = parse(format, again.as_bytes()).expect("what was written can be read");
        let read: Vec<_> = read.into_iter().map(|read| (read.name.clone(), read.written())).collect();
        prop_assert_eq!(read, expected, "{}", file);
    }

    /// A file with a mistake in it: whatever it is, no piece of a value is told.
    #[test]
    fn no_problem_tells_a_value(
        format in proptest::sample::select(Format::ALL),
        form in proptest::sample::select(&[Form::Flat, Form::Full][..]),
        at in any::<proptest::sample::Index>(),
        cut in 0_usize..4,
        inserted in proptest::sample::select(&["", "'", "\"", "\n", ":", "{", "[", "\\", "&a ", "*a ", "!t ", "=", "\t", "\u{0}", "- ", "canary"][..]),
    ) {
        let text = format!("{CANARY} '\"\\ {CANARY}: {CANARY}");
        let lines = format!("{CANARY}\n{CANARY}=");
        let mut variables = vec![variable("A", CANARY), variable("B", &text), variable("C", &lines), variable("D", "1")];
        if format == Format::Docker {
            variables.remove(2);
        }
        variables[0].secret = true;
        let file = write(format, &variables, &options(form)).expect("it can be carried");
        let chars: Vec<char> = file.chars().collect();
        let at = at.index(chars.len());
        let rest = chars.get(at + cut..).unwrap_or_default();
        let broken: String = chars[..at].iter().copied().chain(inserted.chars()).chain(rest.iter().copied()).collect();
        if let Err(problems) = parse(format, broken.as_bytes()) {
            for problem in problems {
                let told = format!("{problem} {problem:?}");
                prop_assert!(!told.contains(CANARY), "{told}");
            }
        }
    }
}

#[test]
fn a_file_is_at_most_a_mebibyte() {
    for format in Format::ALL {
        let file = vec![b' '; FILE_BYTES + 1];
        let found = parse(*format, &file).expect_err("too large");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, LineProblemKind::FileTooLarge { bytes: FILE_BYTES + 1, limit: FILE_BYTES });
    }
}

/// None of them takes more than a moment: whatever looked at all of it for each of its pieces would not end here.
#[test]
fn no_shape_of_a_file_costs_more_than_its_size() {
    let fill = |piece: &str| piece.repeat(FILE_BYTES / 4 / piece.len());
    for piece in [
        "$",
        "\\$",
        "$\n",
        "A=$\n",
        "A=\"\n",
        "A='\nB=`\n",
        "A=\"\\\"\n",
        "=\n",
        "\u{e9}",
        "A=\u{e9}\n",
        "#\n",
        "\n",
        "\r",
        "[",
        "{",
        "{\"a\":",
        "[[],",
        "- ",
        "- - ",
        "a: ",
        "a:\n",
        "? ",
        "&a ",
        "*a\n",
        "!a ",
        "---\n",
        "\"",
        "'",
        "|\n",
        "\"a\":1,",
        "[1,",
        "1,",
        ",",
        "a: {b: ",
        "#",
        "\t",
        "%",
        "<<: ",
    ] {
        let file = fill(piece);
        for format in Format::ALL {
            let _ = parse(*format, file.as_bytes());
            let _ = parse(*format, format!("A=\"{file}").as_bytes());
            let _ = parse(*format, format!("{{\"A\":{file}").as_bytes());
        }
    }
}

#[test]
fn nesting_is_bounded() {
    for format in [Format::Json, Format::Yaml] {
        let nested = |depth: usize| format!("{{\"A\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(format, nested(NESTING - 1).as_bytes()).is_ok());
        let found = problems(format, &nested(NESTING));
        assert!(matches!(found[..], [(1, _, LineProblemKind::TooDeep { .. })]), "{found:?}");
        let found = problems(format, &nested(100_000));
        assert!(matches!(found[..], [(1, _, LineProblemKind::TooDeep { .. })]), "{found:?}");
    }
    let block: String = (0..200).map(|depth| format!("{:depth$}A:\n", "")).collect();
    assert!(matches!(problems(Format::Yaml, &block)[0].2, LineProblemKind::TooDeep { .. }));
}

#[test]
fn the_number_of_values_is_bounded() {
    for format in [Format::Json, Format::Yaml] {
        let file = format!("{{\"A\": [{}0]}}", "0,".repeat(NODES));
        let found = problems(format, &file);
        assert!(matches!(found[..], [(1, _, LineProblemKind::TooManyNodes { .. })]), "{found:?}");
    }
}

#[test]
fn laughs_are_not_multiplied() {
    let mut file = "A: &a [\"lol\", \"lol\"]\n".to_owned();
    for (name, before) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        file.push_str(&format!("{}: &{name} [*{before}, *{before}, *{before}]\n", name.to_ascii_uppercase()));
    }
    let found = problems(Format::Yaml, &file);
    assert!(found.iter().all(|(.., kind)| *kind == LineProblemKind::Alias), "{found:?}");
    assert_eq!(found.iter().map(|(line, ..)| *line).collect::<std::collections::BTreeSet<_>>().len(), 10);
}

#[test]
fn more_problems_than_anybody_reads_are_counted() {
    let file = "?\n".repeat(PROBLEMS + 5);
    let found = problems(Format::Dotenv, &file);
    assert_eq!(found.len(), PROBLEMS + 1);
    assert_eq!(found.last(), Some(&(PROBLEMS, 1, LineProblemKind::More { count: 5 })));
}

#[test]
fn the_limits_of_an_environment_are_those_of_a_file() {
    let many: String = (0..=limits::ENVIRONMENT_ENTRIES).map(|i| format!("V{i}=\n")).collect();
    let (count, limit) = (limits::ENVIRONMENT_ENTRIES + 1, limits::ENVIRONMENT_ENTRIES);
    assert_eq!(problems(Format::Dotenv, &many), [(1, 1, ProblemKind::TooMany { count, limit }.into())]);

    let large = format!("A=1\nB={}\n", "x".repeat(limits::ENVIRONMENT_ENTRY_BYTES));
    let found = problems(Format::Docker, &large);
    assert!(matches!(found[..], [(2, 1, LineProblemKind::Rule(ProblemKind::EntryTooLarge { .. }))]), "{found:?}");

    let tabs = format!("A{{}}: [\"{}\"]\n", "\t".repeat(60_000));
    let all: String = (0..16).map(|i| tabs.replace("{}", &i.to_string())).collect();
    let found = problems(Format::Yaml, &all);
    assert!(matches!(found[..], [(1, 1, LineProblemKind::Rule(ProblemKind::TooLarge { .. }))]), "{found:?}");
}
