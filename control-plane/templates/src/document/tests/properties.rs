//! What holds for every template and for every text.

use outrigger_protocol::environment::VariableKind;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::generate::{Alphabet, Encoding, Generator};
use crate::official::official;
use crate::template::{Defaults, Pattern, Stage, Template, Variable};

/// Characters that YAML has something to say about, and some that it has not.
const CHARACTERS: &[char] = &[
    'a', 'Z', '0', '9', ' ', '\n', '\t', '\r', '"', '\'', '\\', '#', ':', '-', '?', '%', '@', '`', '{', '}', '[', ']',
    ',', '&', '*', '!', '|', '>', '~', '=', '<', '$', '.', '\u{1}', '\u{1b}', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}',
    '\u{feff}', 'é', '漢', '😀',
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(select(CHARACTERS), 0..24).prop_map(String::from_iter),
        1 => select(&["null", "~", "true", "No", "3000", "1e3", "0x10", "1_000", "---", "...", "- a", "a: b", "2024-01-01"])
            .prop_map(str::to_owned),
        1 => "[a-z ]{60,200}",
    ]
}

fn prose() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', ""))
}

fn line() -> impl Strategy<Value = String> {
    text().prop_map(|text| format!("x{}", text.replace(char::is_control, "")).chars().take(100).collect())
}

fn value(kind: VariableKind) -> BoxedStrategy<String> {
    match kind {
        VariableKind::String | VariableKind::Secret => text().boxed(),
        VariableKind::Number => select(&["3000", "1.50", "-1e3", "+3", "007", ".5"]).prop_map(str::to_owned).boxed(),
        VariableKind::Boolean => select(&["true", "FALSE", "yes", "Off", "0", "1"]).prop_map(str::to_owned).boxed(),
        VariableKind::Json => {
            select(&["null", "{}", "[1, \"a\"]", "\"\\n\"", "{\"a\":{}}\n"]).prop_map(str::to_owned).boxed()
        }
        VariableKind::Url => "https?://[a-z]{1,8}(:[0-9]{2,4})?(/[a-z#?=&%*!]{0,8})?".boxed(),
    }
}

fn generator() -> impl Strategy<Value = Generator> {
    let symbols: Vec<char> = ('!'..='~').filter(|c| *c != '{').collect();
    let custom = subsequence(symbols, 2..94).prop_map(|symbols| Alphabet::Custom(symbols.into_iter().collect()));
    let alphabet = prop_oneof![Just(Alphabet::Alphanumeric), Just(Alphabet::Ascii), custom];
    prop_oneof![
        (select(Encoding::ALL), 16_usize..=1024).prop_map(|(encoding, bytes)| Generator::Bytes { encoding, bytes }),
        (alphabet, 128_usize..=1024).prop_map(|(alphabet, characters)| Generator::Characters { alphabet, characters }),
    ]
}

fn variable() -> impl Strategy<Value = Variable> {
    (select(VariableKind::ALL), any::<bool>()).prop_flat_map(|(kind, marked)| {
        let secret = marked || kind == VariableKind::Secret;
        let is_text = matches!(kind, VariableKind::String | VariableKind::Secret);
        let drawn = btree_set(value(kind), 1..4).prop_map(Vec::from_iter);
        let rest = (
            any::<[bool; Stage::ALL.len()]>(),
            option::of(Just(())),
            if secret && is_text { option::of(generator()).boxed() } else { Just(None).boxed() },
            any::<bool>(),
            option::of(select(&["(?s).*", "(?s:.*)"])),
        );
        (any::<bool>(), prose(), option::of("https://[a-z]{1,8}\\.example(/[a-z#]{0,8})?"), drawn, rest).prop_map(
            move |(required, description, documentation, drawn, (stages, example, generate, is_fixed, pattern))| {
                let is_free = generate.is_some();
                let mut default = Defaults::default();
                for (stage, has_default) in Stage::ALL.into_iter().zip(stages) {
                    if has_default && !secret {
                        default.set(stage, drawn[stage as usize % drawn.len()].clone());
                    }
                }
                Variable {
                    key: String::new(),
                    kind,
                    required,
                    secret,
                    description,
                    documentation,
                    default,
                    example: example.map(|()| drawn[0].clone()),
                    generate,
                    pattern: pattern.filter(|_| !is_free).map(|source| Pattern::compile(source).expect("a pattern")),
                    values: if is_fixed && !is_free { drawn } else { Vec::new() },
                }
            },
        )
    })
}

fn template() -> impl Strategy<Value = Template> {
    const SLUG: &str = "[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,2}";
    let version = "[0-9A-Za-z][0-9A-Za-z.+-]{0,9}";
    let documentation = option::of("https://[a-z]{1,8}\\.example");
    (SLUG, line(), SLUG, version, prose(), documentation, vec(variable(), 1..6)).prop_map(
        |(id, name, category, version, description, documentation, mut variables)| {
            for (at, variable) in variables.iter_mut().enumerate() {
                variable.key = format!("KEY_{at}");
            }
            Template { id, name, category, version, description, documentation, variables }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back_the_same(template in template()) {
        let written = template.to_yaml();
        let read = Template::parse(&written).map_err(|error| TestCaseError::fail(format!("{error}\n{written}")))?;
        prop_assert_eq!(&read, &template, "{}", written);
        prop_assert_eq!(read.to_yaml(), written);
    }

    #[test]
    fn any_text_is_read_or_refused_with_reasons(source in vec(select(CHARACTERS), 0..200).prop_map(String::from_iter)) {
        let refused = Template::parse(&source).expect_err("not by chance");
        prop_assert!(!refused.problems.is_empty());
    }

    #[test]
    fn a_damaged_template_is_read_or_refused_with_reasons(
        at in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        length in 0_usize..40,
        inserted in text(),
    ) {
        let mut source = official()[at.index(official().len())].to_yaml();
        let start = source.floor_char_boundary(position.index(source.len()));
        let end = source.ceil_char_boundary((start + length).min(source.len()));
        source.replace_range(start..end, &inserted);
        match Template::parse(&source) {
            Ok(template) => prop_assert_eq!(Template::parse(&template.to_yaml()), Ok(template)),
            Err(refused) => prop_assert!(!refused.problems.is_empty()),
        }
    }
}
