use super::*;
use proptest::prelude::*;

fn masked(secrets: &[&str], chunks: &[&str]) -> String {
    let bytes: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    String::from_utf8(masked_bytes(secrets, &bytes)).unwrap()
}

fn masked_bytes(secrets: &[&str], chunks: &[&[u8]]) -> Vec<u8> {
    let set = SecretSet::new(secrets.iter().map(|secret| secret.as_bytes()));
    let (mut masker, mut out) = (Masker::new(Arc::new(set)), Vec::new());
    chunks.iter().for_each(|chunk| masker.feed(chunk, &mut out));
    masker.finish(&mut out);
    out
}

#[test]
fn a_secret_is_masked_wherever_chunks_end() {
    let text = "before hunter2hunter after";
    for cut in 0..text.len() {
        assert_eq!(masked(&["hunter2hunter"], &[&text[..cut], &text[cut..]]), "before *** after");
    }
}

#[test]
fn the_longest_secret_wins_even_when_it_arrives_late() {
    assert_eq!(masked(&["token", "token-extended"], &["a token-ext", "ended b token c"]), "a *** b *** c");
    assert_eq!(masked(&["token", "token-extended"], &["a token-ext", "ra"]), "a ***-extra");
}

#[test]
fn adjacent_secrets_leave_one_mask() {
    assert_eq!(masked(&["alpha", "beta"], &["alphabeta", "alpha", "!alpha"]), "***!***");
}

#[test]
fn short_secrets_are_left_alone() {
    assert_eq!(masked(&["1", "on", "yes", ""], &["yes, 1 is on"]), "yes, 1 is on");
}

#[test]
fn every_line_of_a_secret_is_masked_by_itself() {
    let key = "-----BEGIN-----\r\nMIIEabc\n\nxy\n-----END-----\n";
    let set = ["say", key];
    assert_eq!(masked(&set, &["MIIEabc and -----END-----"]), "*** and ***");
    assert_eq!(masked(&set, &[r#"{"key":"-----BEGIN-----\nMIIEabc\n"}"#]), r#"{"key":"***\n***\n"}"#);
}

#[test]
fn the_form_inside_json_is_masked_too() {
    assert_eq!(masked(&[r#"pa"ss\word"#], &[r#"{"p":"pa\"ss\\word"} pa"ss\word"#]), r#"{"p":"***"} ***"#);
}

#[test]
fn a_long_secret_is_masked_and_little_is_held_back() {
    let secret: String = (0..20_000).map(|i| char::from(b'a' + u8::try_from(i * i % 23).unwrap())).collect();
    let set = Arc::new(SecretSet::new([secret.as_bytes()]));
    let (mut masker, mut out) = (Masker::new(set), Vec::new());
    for chunk in secret.as_bytes().chunks(999) {
        masker.feed(chunk, &mut out);
        assert!(masker.held.len() < PIECE_BYTES + MIN_SECRET_BYTES);
    }
    masker.feed(b"!", &mut out);
    assert_eq!(out, b"***!");
}

#[test]
fn long_secrets_are_split_between_characters() {
    let secret = "\u{20ac}".repeat(1_000);
    assert_eq!(masked(&[&secret], &["x", &secret, "y"]), "x***y");
    let mut pieces = Vec::new();
    collect_pieces(secret.as_bytes(), &mut pieces);
    assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok() && piece.len() >= MIN_SECRET_BYTES));
}

#[test]
fn a_secret_cut_off_by_the_end_is_masked() {
    assert_eq!(masked(&["correct-horse"], &["it is correct-ho"]), "it is ***");
    assert_eq!(masked(&["correct-horse"], &["it is co"]), "it is co");
}

#[test]
fn replaced_secrets_apply_to_what_was_held_back() {
    let mut masker = Masker::new(Arc::new(SecretSet::new([&b"first-secret"[..]])));
    let mut out = Vec::new();
    masker.feed(b"first-", &mut out);
    masker.replace(Arc::new(SecretSet::new([&b"first-other"[..]])));
    masker.feed(b"other first-secret ", &mut out);
    assert_eq!(out, b"*** first-secret ");
}

#[test]
fn nothing_about_a_secret_is_printed() {
    let set = SecretSet::new([&b"hunter2hunter"[..]]);
    assert!(!format!("{set:?} {:?}", Masker::new(Arc::new(SecretSet::empty()))).contains("hunter"));
    assert_eq!(format!("{set:?}"), "SecretSet { pieces: 1, .. }");
}

/// What masking means, without streaming: at each place the longest piece.
fn reference(secrets: &[String], text: &str) -> String {
    let mut pieces = Vec::new();
    secrets.iter().for_each(|secret| collect_pieces(secret.as_bytes(), &mut pieces));
    let (mut out, mut at, mut starred) = (Vec::new(), 0, false);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match pieces.iter().filter(|piece| bytes[at..].starts_with(piece.as_slice())).map(|piece| piece.len()).max() {
            Some(length) => {
                if !starred {
                    out.extend_from_slice(STARS);
                }
                at += length;
                starred = true;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
                starred = false;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn streaming_equals_masking_at_once(
        secrets in prop::collection::vec("[ab\u{e9}\n]{0,8}", 0..5),
        text in "[ab\u{e9}\n]{0,60}",
        cuts in prop::collection::vec(0_usize..120, 0..6),
    ) {
        // A delimiter that no secret holds ends the text, so that nothing is held back at its end.
        let text = format!("{text}#");
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let streamed = String::from_utf8(masked_bytes(&names, &chunks)).expect("no character is split");
        prop_assert_eq!(streamed, reference(&secrets, &text));
    }

    #[test]
    fn no_secret_survives(secret in "[a-z]{4,400}", around in "[A-Z ]{0,20}", chunk in 1_usize..50) {
        let text = format!("{around}{secret}{around}");
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(chunk).collect();
        let out = String::from_utf8(masked_bytes(&[&secret], &chunks)).unwrap();
        prop_assert_eq!(out, format!("{around}***{around}"));
    }
}
