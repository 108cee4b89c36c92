use outrigger_configuration::format::{Form, Format, LineProblemKind, WriteProblemKind, write};

use crate::{options, problems, read, values, variable};

#[test]
fn all_that_follows_the_equals_sign_is_the_value() {
    let file = "\u{feff}A=\"quoted\"\r\n  B= a # b \n# C=1\n\nD=${E} $F \\n 'x'=\t\nG=";
    let expected = [("A", "\"quoted\""), ("B", " a # b "), ("D", "${E} $F \\n 'x'=\t"), ("G", "")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
    assert_eq!(values(Format::Docker, file), expected);
    assert!(read(Format::Docker, file).iter().all(|variable| variable.literal));
}

#[test]
fn every_wrong_line_is_named() {
    assert_eq!(
        problems(Format::Docker, "A\nexport B=1\nC =1\nD.E=1\nF=1\n F=2\n=3\n"),
        [
            (1, 1, LineProblemKind::HostValue),
            (2, 1, LineProblemKind::ExportPrefix),
            (3, 1, LineProblemKind::BlankBeforeEquals),
            (4, 1, LineProblemKind::InvalidName),
            (6, 2, LineProblemKind::Duplicate { first: 5 }),
            (7, 1, LineProblemKind::InvalidName),
        ]
    );
}

#[test]
fn what_docker_cannot_carry_is_named_and_nothing_is_written() {
    let long = "x".repeat(64 * 1024);
    let mut reference = variable("REFERENCE", "${A}");
    reference.literal = false;
    let variables =
        [variable("A", "a"), variable("LINES", "a\nb"), variable("RETURN", "a\r"), variable("LONG", &long), reference];
    let problems = write(Format::Docker, &variables, &options(Form::Flat)).expect_err("four do not fit");
    let mut found: Vec<_> = problems.iter().map(|problem| (problem.name.as_str(), problem.kind.clone())).collect();
    found.sort_by_key(|(name, _)| *name);
    assert_eq!(
        found,
        [
            ("LINES", WriteProblemKind::SeveralLines),
            ("LONG", WriteProblemKind::LineTooLong { bytes: 64 * 1024 + 5, limit: 64 * 1024 - 1 }),
            ("REFERENCE", WriteProblemKind::Reference),
            ("RETURN", WriteProblemKind::CarriageReturnAtEnd),
        ]
    );
}

#[test]
fn an_escaped_reference_is_written_as_the_text_that_it_means() {
    let mut escaped = variable("A", "$${B}");
    escaped.literal = false;
    let mut unset = variable("C", "");
    unset.value = None;
    let file = write(Format::Docker, &[escaped, unset], &options(Form::Flat)).expect("written");
    assert_eq!(*file, "A=${B}\n# C is not set\n");
}
