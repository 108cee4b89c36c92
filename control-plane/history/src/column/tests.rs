use proptest::prelude::*;

use super::*;

/// Bit for bit, and absent is absent.
fn assert_leads_back(values: &[f64]) -> usize {
    let Some(bytes) = encode(values) else {
        assert!(values.iter().all(|value| value.is_nan()));
        return 0;
    };
    let decoded = decode(&bytes, values.len()).expect("decodes");
    assert_eq!(decoded.len(), values.len());
    for (found, value) in decoded.iter().zip(values) {
        let same = if value.is_nan() { found.is_nan() } else { found.to_bits() == value.to_bits() };
        assert!(same, "{value:?} became {found:?}");
    }
    bytes.len()
}

/// A value every so many, the others absent.
fn thinned(values: &[f64], every: usize) -> Vec<f64> {
    values.iter().enumerate().map(|(at, value)| if at % every == 0 { *value } else { f64::NAN }).collect()
}

#[test]
fn peculiar_numbers_lead_back() {
    let tiny = f64::from_bits(1);
    let peculiar = [
        0.0,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MAX,
        f64::MIN,
        f64::EPSILON,
        tiny,
        -tiny,
        0.1 + 0.2,
        1e15,
        9_007_199_254_740_993.0,
        1e300,
        f64::NAN,
    ];
    assert_leads_back(&peculiar);
    for value in peculiar {
        assert_leads_back(&[value; 7]);
        assert_leads_back(&[1.5, 2.25, value, 3.0, 0.25, 7.0, 8.0, 9.0, 10.0]);
    }
    assert_leads_back(&[-0.0, 0.0, -0.0, 1.0]);
    assert_leads_back(&[1e15, 0.1, 0.000_000_1]);
}

#[test]
fn an_hour_of_the_same_is_a_few_bytes() {
    assert_eq!(assert_leads_back(&[0.0; 3_600]), 3);
    assert!(assert_leads_back(&[134_217_728.0; 3_600]) <= 8);
    assert!(assert_leads_back(&[1.0 / 3.0; 3_600]) <= 10);
}

#[test]
fn a_step_and_a_gap_cost_bytes_and_not_kilobytes() {
    let mut values = vec![4_096.0; 3_600];
    values[1_000..].fill(8_192.0);
    values[2_000..2_100].fill(f64::NAN);
    let length = assert_leads_back(&values);
    assert!(length < 40, "{length} bytes");
}

#[test]
fn pages_of_memory_cost_as_much_as_their_number() {
    let pages = |factor: f64| -> Vec<f64> { (0..600_u32).map(|at| f64::from(at * at % 97) * factor).collect() };
    let (one, many) = (assert_leads_back(&pages(1.0)), assert_leads_back(&pages(4_096.0)));
    assert!(many <= one + 2, "{one} and {many} bytes");
}

#[test]
fn sums_that_are_nearly_decimal_stay_cheap() {
    let mut sum = 0.0;
    let sums: Vec<f64> = (0..1_000_u32)
        .map(|at| {
            sum = if at % 10 == 0 { 0.0 } else { sum + 0.1 };
            sum
        })
        .collect();
    let length = assert_leads_back(&sums);
    assert!(length < 1_000, "{length} bytes");
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<u64>().prop_map(f64::from_bits),
        4 => (-2_000_000_i32..2_000_000, 0_i32..7).prop_map(|(mantissa, exponent)| f64::from(mantissa) / 10_f64.powi(exponent)),
        2 => (0_u8..4).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(-0.0),
    ]
}

proptest! {
    #[test]
    fn any_column_leads_back(values in prop::collection::vec(any_value(), 0..400)) {
        assert_leads_back(&values);
    }

    #[test]
    fn decimals_with_gaps_lead_back(
        values in prop::collection::vec(-50_000_i32..50_000, 1..400), exponent in 0_i32..10, every in 1_usize..5
    ) {
        let values: Vec<f64> = values.into_iter().map(|value| f64::from(value) / 10_f64.powi(exponent)).collect();
        assert_leads_back(&thinned(&values, every));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), samples in 0_usize..500) {
        if let Ok(values) = decode(&bytes, samples) {
            prop_assert_eq!(values.len(), samples);
        }
    }
}
