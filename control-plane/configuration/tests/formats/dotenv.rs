use outrigger_configuration::format::{Form, Format, LineProblemKind, ParsedVariable, write};
use outrigger_protocol::environment::ProblemKind;

use crate::{options, problems, read, value, values, variable};

fn of(file: &str) -> String {
    value(Format::Dotenv, file)
}

fn wrong(file: &str) -> Vec<(usize, usize, LineProblemKind)> {
    problems(Format::Dotenv, file)
}

#[test]
fn the_head_of_a_line_may_have_blanks_and_an_export() {
    for file in [
        "A=1",
        "A=1\n",
        "A=1\r\n",
        "  A=1",
        "A =1",
        "A = 1",
        "\texport \t A\t=\t1\t",
        "\u{feff}A=1",
        "# B=2\n\n  # C\nA=1",
    ] {
        assert_eq!(values(Format::Dotenv, file), [("A".to_owned(), Some("1".to_owned()))], "{file:?}");
    }
    assert_eq!(values(Format::Dotenv, "export=1"), [("export".to_owned(), Some("1".to_owned()))]);
    assert_eq!(values(Format::Dotenv, ""), []);
    assert_eq!(values(Format::Dotenv, "# nothing\n\n"), []);
}

#[test]
fn a_bare_value_ends_with_its_line_or_before_a_comment() {
    for (file, expected) in [
        ("A=", ""),
        ("A=   ", ""),
        ("A= # comment", ""),
        ("A=#fff", "#fff"),
        ("A=a#b", "a#b"),
        ("A=a # b", "a"),
        ("A=a\t# b # c", "a"),
        ("A= a b  c ", "a b  c"),
        ("A=a=b==", "a=b=="),
        ("A=it's", "it's"),
        ("A=C:\\new\\table", "C:\\new\\table"),
        ("A=\u{a0}é😀", "\u{a0}é😀"),
    ] {
        assert_eq!(of(file), expected, "{file:?}");
    }
}

#[test]
fn double_quotes_have_escapes_and_lines() {
    for (file, expected) in [
        (r#"A="""#, ""),
        (r#"A="a b" # c"#, "a b"),
        (r#"A="a # b""#, "a # b"),
        (r#"A="\n\r\t\"\\\$\`""#, "\n\r\t\"\\$`"),
        (r#"A="\d\x\'\ \e""#, r"\d\x\'\ \e"),
        ("A=\"a\nb\n\"", "a\nb\n"),
        ("A=\"a\r\nb\rc\\\r\n\"\r\n", "a\nb\rc\\\n"),
        ("A=\"'`#\"", "'`#"),
        (r#"A="a\\""#, "a\\"),
    ] {
        assert_eq!(of(file), expected, "{file:?}");
    }
}

#[test]
fn single_quotes_and_backticks_are_literal() {
    for (file, expected) in [
        ("A=''", ""),
        (r"A='a\n\\ ${B} $${C} #'", r"a\n\\ ${B} $${C} #"),
        ("A=`it's \"so\" ${B}`", "it's \"so\" ${B}"),
        ("A='a\r\nb\rc\n' # d", "a\nb\rc\n"),
    ] {
        let variables = read(Format::Dotenv, file);
        assert!(variables[0].literal, "{file:?}");
        assert_eq!(of(file), expected, "{file:?}");
    }
}

#[test]
fn references_are_where_nothing_escapes_them() {
    let written = |file: &str| read(Format::Dotenv, file)[0].written().expect("a value").to_string();
    for (value, expected) in [
        ("${B}", "${B}"),
        ("$${B}", "$${B}"),
        ("\\${B}", "$${B}"),
        ("\\$${B}", "$$${B}"),
        ("$\\${B}", "$$$${B}"),
        ("$$\\$${B}", "$$$$$$${B}"),
        ("\\$\\${B}", "$$$${B}"),
        ("$B $ $$", "$B $ $$"),
    ] {
        assert_eq!(written(&format!("A={value}")), expected, "{value:?}");
        assert_eq!(written(&format!("A=\"{value}\"")), expected, "{value:?}");
    }
    assert_eq!(written("A=\\$B"), "\\$B", "without quotes, only in front of a brace");
    assert_eq!(written("A=\"\\$B\""), "$B");
    assert_eq!(written("A='${B}$'"), "$${B}$");
}

#[test]
fn variables_know_their_lines() {
    let lines = |file: &str| read(Format::Dotenv, file).iter().map(|v: &ParsedVariable| v.line).collect::<Vec<_>>();
    assert_eq!(lines("# a\nA='1\n2\n'\n\nB=3\n  export C=4"), [2, 6, 7]);
}

#[test]
fn every_wrong_line_is_named_with_what_to_write() {
    let file = "A=1\nB: 2\nC\nMY-KEY=\"a\nb\"\n1D=4\nexport E\nA=5\nF=\"a\"b\nG=x\ry\nOUTRIGGER_X=1\nH=a\0b\n=7\n\"I\"=8\nJ='it\\'s'\n";
    assert_eq!(
        wrong(file),
        [
            (2, 2, LineProblemKind::Colon),
            (3, 1, LineProblemKind::NoEquals),
            (4, 1, LineProblemKind::InvalidName),
            (6, 1, LineProblemKind::InvalidName),
            (7, 8, LineProblemKind::NoEquals),
            (8, 1, LineProblemKind::Duplicate { first: 1 }),
            (9, 6, LineProblemKind::AfterQuote { opened: 9 }),
            (10, 4, LineProblemKind::CarriageReturn),
            (11, 1, LineProblemKind::Rule(ProblemKind::ReservedName)),
            (12, 1, LineProblemKind::Rule(ProblemKind::NulByte)),
            (13, 1, LineProblemKind::InvalidName),
            (14, 1, LineProblemKind::InvalidName),
            (15, 8, LineProblemKind::AfterQuote { opened: 15 }),
        ]
    );
}

#[test]
fn an_open_quote_does_not_hide_what_follows() {
    assert_eq!(
        wrong("A=\"a\nB\nC=`c`\n"),
        [(1, 3, LineProblemKind::UnclosedQuote { quote: '"' }), (2, 1, LineProblemKind::NoEquals)]
    );
    assert_eq!(
        wrong("A=\"a\nB=\"b\"\nC\n"),
        [(2, 4, LineProblemKind::AfterQuote { opened: 1 }), (3, 1, LineProblemKind::NoEquals)]
    );
    assert_eq!(wrong("A=\"a\\\""), [(1, 3, LineProblemKind::UnclosedQuote { quote: '"' })]);
}

#[test]
fn a_dangerous_name_is_left_to_who_knows_the_deployment() {
    assert_eq!(values(Format::Dotenv, "LD_PRELOAD=x").len(), 1);
}

#[test]
fn what_is_written_is_what_most_readers_agree_on() {
    let mut variables = vec![
        variable("BARE", "https://a.example:80/x_y-z,1+2%20@b"),
        variable("EMPTY", ""),
        variable("SPACE", "a b # ${C} $D `e` \"f\" \\g"),
        variable("LINES", "a\n\nb\n"),
        variable("QUOTE", "it's \\ \"$5\" `x`\n${Y}"),
        variable("END", "a\\"),
        variable("RETURN", "a\r\nb"),
        variable("UNSET", ""),
        variable("REFERENCE", "it's \"$5\" $$${HOST}:${env:a/PORT}$${x"),
    ];
    variables[7].value = None;
    variables[8].literal = false;
    variables[0].origin = Some("base\nEVIL=1".to_owned());
    let file = write(Format::Dotenv, &variables, &options(Form::Flat)).expect("written");
    let expected = r#"# from base�EVIL=1
BARE=https://a.example:80/x_y-z,1+2%20@b
EMPTY=
SPACE='a b # ${C} $D `e` "f" \g'
LINES='a

b
'
QUOTE="it's \\ \"\$5\" \`x\`
\${Y}"
END="a\\"
RETURN="a\r
b"
# UNSET is not set
REFERENCE="it's \"\$5\" \$${HOST}:${env:a/PORT}\${x"
"#;
    assert_eq!(*file, expected);
}
