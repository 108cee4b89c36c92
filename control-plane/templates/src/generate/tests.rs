use std::collections::BTreeMap;

use super::*;

const DJANGO: &str = "abcdefghijklmnopqrstuvwxyz0123456789!@#$%^&*(-_=+)";

fn characters(alphabet: Alphabet, characters: usize) -> Generator {
    Generator::Characters { alphabet, characters }
}

/// Hands out `bytes` over and over.
fn cycle(bytes: &[u8]) -> impl FnMut(&mut [u8]) {
    let mut source = bytes.iter().copied().cycle();
    move |buffer: &mut [u8]| buffer.fill_with(|| source.next().expect("a cycle does not end"))
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn pseudo_random(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |buffer: &mut [u8]| {
        for chunk in buffer.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

fn generated(generator: &Generator, fill: &mut dyn FnMut(&mut [u8])) -> String {
    generator.generate(fill).expect("a usable source").to_string()
}

#[test]
fn bytes_are_written_in_their_encoding() {
    let all: Vec<u8> = (0..=255).collect();
    let bytes = |encoding, bytes| generated(&Generator::Bytes { encoding, bytes }, &mut cycle(&all));
    assert_eq!(bytes(Encoding::Hex, 17), "000102030405060708090a0b0c0d0e0f10");
    assert_eq!(bytes(Encoding::Base64, 16), "AAECAwQFBgcICQoLDA0ODw==");
    assert_eq!(bytes(Encoding::Base64Url, 16), "AAECAwQFBgcICQoLDA0ODw");
    let high = |encoding| generated(&Generator::Bytes { encoding, bytes: 3 }, &mut cycle(&[0xfb, 0xff, 0xbf]));
    assert_eq!((high(Encoding::Base64), high(Encoding::Base64Url)), ("+/+/".to_owned(), "-_-_".to_owned()));
}

#[test]
fn characters_are_drawn_in_the_order_of_the_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    let drawn = generated(&characters(Alphabet::Alphanumeric, 64), &mut cycle(&all));
    assert_eq!(drawn, format!("{ALPHANUMERIC}AB"));
}

#[test]
fn bytes_that_would_favour_the_first_symbols_are_thrown_away() {
    // 256 is 4 × 62 + 8: the bytes from 248 on have no symbol.
    let mut source = cycle(&[248, 255, 0, 250, 61, 247, 62]);
    assert_eq!(generated(&characters(Alphabet::Alphanumeric, 4), &mut source), "A99A");
}

#[test]
fn over_all_bytes_every_symbol_is_equally_likely() {
    let all: Vec<u8> = (0..=255).collect();
    for size in 2..=ASCII.len() {
        let symbols: String = ASCII.chars().take(size).collect();
        let each = 256 / size;
        let generator = characters(Alphabet::Custom(symbols), size * each);
        let mut counts = BTreeMap::new();
        for symbol in generated(&generator, &mut cycle(&all)).chars() {
            *counts.entry(symbol).or_insert(0) += 1;
        }
        assert!(counts.len() == size && counts.values().all(|count| *count == each), "{size}: {counts:?}");
    }
}

#[test]
fn a_long_draw_is_spread_evenly() {
    let mut fill = pseudo_random(7);
    let generator = characters(Alphabet::Custom(DJANGO.to_owned()), 50);
    let mut counts = [0_u32; 128];
    let secrets = 2_000;
    for _ in 0..secrets {
        for symbol in generated(&generator, &mut fill).bytes() {
            counts[usize::from(symbol)] += 1;
        }
    }
    let expected = f64::from(secrets);
    let chi_squared: f64 =
        DJANGO.bytes().map(|symbol| (f64::from(counts[usize::from(symbol)]) - expected).powi(2) / expected).sum();
    // 49 degrees of freedom: beyond these, one seed in a thousand, at either end.
    assert!((23.9..85.4).contains(&chi_squared), "{chi_squared}");
}

#[test]
fn secrets_differ_and_have_their_length() {
    let mut fill = pseudo_random(1);
    for generator in [
        characters(Alphabet::Ascii, 32),
        characters(Alphabet::Custom(DJANGO.to_owned()), 50),
        Generator::Bytes { encoding: Encoding::Hex, bytes: 32 },
    ] {
        let (one, other) = (generated(&generator, &mut fill), generated(&generator, &mut fill));
        assert_ne!(one, other);
        let length = match &generator {
            Generator::Bytes { bytes, .. } => 2 * bytes,
            Generator::Characters { characters, .. } => *characters,
        };
        assert_eq!((one.len(), other.len()), (length, length));
    }
}

#[test]
fn a_source_that_is_stuck_is_refused_instead_of_asked_for_ever() {
    let mut asked = 0_usize;
    let mut stuck = |buffer: &mut [u8]| {
        asked += buffer.len();
        buffer.fill(255);
    };
    assert_eq!(characters(Alphabet::Alphanumeric, 100).generate(&mut stuck).err(), Some(Exhausted));
    assert!(asked <= 100 * BYTES_PER_CHARACTER + (SPARE_POOLS + 1) * POOL_BYTES, "{asked}");
}

#[test]
fn the_built_in_alphabets_are_distinct_and_open_no_reference() {
    for (alphabet, size) in [(Alphabet::Alphanumeric, 62), (Alphabet::Ascii, 89)] {
        let mut symbols: Vec<char> = alphabet.symbols().chars().collect();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), size);
        assert!(symbols.iter().all(char::is_ascii_graphic) && !symbols.contains(&'$'));
    }
}

#[test]
fn entropy_is_counted_in_whole_bits() {
    assert_eq!(Generator::Bytes { encoding: Encoding::Base64, bytes: 32 }.entropy_bits(), 256);
    assert_eq!(characters(Alphabet::Custom(DJANGO.to_owned()), 50).entropy_bits(), 282);
    assert_eq!(characters(Alphabet::Ascii, 32).entropy_bits(), 207);
}
