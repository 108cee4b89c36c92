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
fn encoded_forms_are_masked_too() {
    let secret = "p@ss w\u{f6}rd/1";
    let base64 = |text: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    for encoded in [base64(secret), "p%40ss%20w%C3%B6rd%2F1".into(), "p@ss w\\u00f6rd\\/1".into()] {
        assert_eq!(masked(&[secret], &[&format!("<{encoded}>")]), "<***>", "{encoded}");
    }
    for user in ["u", "us", "use"] {
        let basic = base64(&format!("{user}:{secret}"));
        let shown = masked(&[secret], &[&format!("Authorization: Basic {basic}")]);
        let rest = shown.strip_prefix("Authorization: Basic ").expect("untouched");
        assert!(rest.contains("***") && rest.len() <= base64(user).len() + 8, "{shown}");
    }
    // Seven bytes: in clear only.
    assert_eq!(masked(&["seven77"], &[&base64("seven77"), " seven77"]), format!("{} ***", base64("seven77")));
}

#[test]
fn encoded_forms_have_a_budget_and_the_values_themselves_have_none() {
    let secrets: Vec<String> = (0..1_000).map(|at| format!("{at:04}{}", "x y".repeat(200))).collect();
    let set = SecretSet::new(secrets.iter().map(|secret| secret.as_bytes()));
    let bytes: usize = set.pieces.values().flatten().map(|piece| piece.len()).sum();
    assert!(bytes <= FORMS_BYTES + secrets.iter().map(String::len).sum::<usize>());
    let (mut masker, mut out) = (Masker::new(Arc::new(set)), Vec::new());
    masker.feed(format!("{}!", secrets[999]).as_bytes(), &mut out);
    assert_eq!(out, b"***!");
}

#[test]
fn what_waits_is_shown_by_a_flush_and_the_rest_of_a_secret_is_not() {
    let mut masker = Masker::new(Arc::new(SecretSet::new([&b"password-of-mine"[..], b"pass word"])));
    let mut out = Vec::new();
    masker.feed(b"Enter pass", &mut out);
    assert_eq!(out, b"Enter ", "it may be the beginning of a secret");
    assert!(masker.is_holding());
    masker.flush(&mut out);
    assert_eq!(out, b"Enter pass", "a prompt is not kept from whoever waits for it");
    assert!(!masker.is_holding());
    masker.flush(&mut out);
    masker.feed(b"phrase: pass", &mut out);
    masker.flush(&mut out);
    assert_eq!(out, b"Enter passphrase: pass", "nothing is shown twice");
    masker.feed(b"word-of-mine.", &mut out);
    assert_eq!(out, b"Enter passphrase: pass***.");
}

#[test]
fn a_whole_secret_that_may_become_a_longer_one_is_never_shown() {
    let mut masker = Masker::new(Arc::new(SecretSet::new([&b"token"[..], b"token-extended", b"x-token-y"])));
    let mut out = Vec::new();
    masker.feed(b"<token", &mut out);
    masker.flush(&mut out);
    masker.feed(b"-ext", &mut out);
    masker.flush(&mut out);
    masker.feed(b"ended> x-token", &mut out);
    masker.flush(&mut out);
    masker.release(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "<***-ext***> x-***");
}

#[test]
fn the_end_of_ones_own_output_is_not_lost() {
    let mut masker = Masker::new(Arc::new(SecretSet::new([&b"https://user:pw@host"[..], "\u{20ac}uro".as_bytes()])));
    let mut out = Vec::new();
    masker.feed(b"see https:/", &mut out);
    masker.release(&mut out);
    assert_eq!(out, b"see https:/");
    out.clear();
    masker.feed(b"\xe2\x82", &mut out);
    masker.flush(&mut out);
    assert!(out.is_empty(), "half a character is nothing to show");
    masker.release(&mut out);
    assert_eq!(out, b"\xe2\x82", "unless that is all there is");
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
    assert!(format!("{set:?}").starts_with("SecretSet { pieces: "), "{set:?}");
}

/// What masking means, without streaming: at each place the longest piece.
fn reference(secrets: &[String], text: &str) -> String {
    let mut pieces = Vec::new();
    for secret in secrets {
        collect_pieces(secret.as_bytes(), &mut pieces);
        other_forms(secret.as_bytes()).iter().for_each(|form| collect_pieces(form, &mut pieces));
    }
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

/// Whether all of `part` is in `whole` in the same order.
fn is_within(part: &str, whole: &str) -> bool {
    let mut rest = whole.chars();
    part.chars().all(|character| rest.any(|other| other == character))
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
    fn flushes_show_no_secret_and_lose_nothing(
        secrets in prop::collection::vec("[ab\u{e9}]{4,7}", 1..4),
        text in "[ab\u{e9}]{0,40}",
        cuts in prop::collection::vec((0_usize..80, any::<bool>()), 0..8),
    ) {
        let set = Arc::new(SecretSet::new(secrets.iter().map(|secret| secret.as_bytes())));
        let (mut masker, mut out) = (Masker::new(set), Vec::new());
        let mut cuts: Vec<(usize, bool)> = cuts.into_iter().map(|(cut, flush)| (cut % (text.len() + 1), flush)).collect();
        cuts.push((text.len(), false));
        cuts.sort_unstable();
        let mut at = 0;
        for (cut, flush) in cuts {
            masker.feed(&text.as_bytes()[at..cut], &mut out);
            at = cut;
            if flush {
                masker.flush(&mut out);
                prop_assert!(!masker.is_holding());
            }
        }
        masker.release(&mut out);
        let out = String::from_utf8(out).expect("no character is split");
        prop_assert!(secrets.iter().all(|secret| !out.contains(secret.as_str())), "{out}");
        prop_assert!(is_within(&reference(&secrets, &text).replace('*', ""), &out), "what is no secret is there: {out}");
        prop_assert!(is_within(&out.replace('*', ""), &text), "and nothing else: {out}");
    }

    #[test]
    fn no_secret_survives(secret in "[a-z]{4,400}", around in "[A-Z ]{0,20}", chunk in 1_usize..50) {
        let text = format!("{around}{secret}{around}");
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(chunk).collect();
        let out = String::from_utf8(masked_bytes(&[&secret], &chunks)).unwrap();
        prop_assert_eq!(out, format!("{around}***{around}"));
    }
}
